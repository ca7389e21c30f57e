package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The picture, in its own units.
const (
	svgWidth, svgHeight = 680, 360
	svgLeft, svgRight   = 70, 190
	svgTop, svgBottom   = 40, 50
)

// Distinct also to those who see colours otherwise.
var svgColors = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7"}

// svg draws a plot with both axes logarithmic, so that cost in proportion to
// something is a straight line, and constant cost a level one.
func (p plot) svg() string {
	x, y := p.scales()
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12" fill="#333">`+"\n", svgWidth, svgHeight)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", svgWidth, svgHeight)
	text := func(x, y float64, anchor, style, s string) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>`+"\n", x, y, anchor, style, html.EscapeString(s))
	}
	bottom, right := float64(svgHeight-svgBottom), float64(svgWidth-svgRight)
	text(svgLeft, 22, "start", ` font-size="15"`, p.Title)
	text((svgLeft+right)/2, svgHeight-12, "middle", "", p.X)
	text(0, 0, "middle", fmt.Sprintf(` transform="translate(18 %.1f) rotate(-90)"`, (svgTop+bottom)/2), p.Y)
	for v := x.from; v <= x.to*1.001; v *= 10 {
		fmt.Fprintf(&b, `<path d="M%.1f %d V%.1f" stroke="#ddd"/>`+"\n", x.at(v), svgTop, bottom)
		text(x.at(v), bottom+18, "middle", "", thousands(v))
	}
	for v := y.from; v <= y.to*1.001; v *= 10 {
		for _, step := range []float64{1, 2, 5} {
			if v*step > y.to*1.001 {
				break
			}
			fmt.Fprintf(&b, `<path d="M%d %.1f H%.1f" stroke="#ddd"/>`+"\n", svgLeft, y.at(v*step), right)
			text(svgLeft-8, y.at(v*step)+4, "end", "", thousands(v*step))
		}
	}
	for i, s := range p.Series {
		color := svgColors[i%len(svgColors)]
		var line []string
		for _, pt := range s.Points {
			line = append(line, fmt.Sprintf("%.1f,%.1f", x.at(pt.X), y.at(pt.Y)))
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>`+"\n", x.at(pt.X), y.at(pt.Y), color)
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(line, " "), color)
		legend := float64(svgTop + 10 + 20*i)
		fmt.Fprintf(&b, `<path d="M%.1f %.1f h18" stroke="%s" stroke-width="2"/>`+"\n", right+12, legend, color)
		text(right+36, legend+4, "start", "", s.Name)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// scale maps values to places, in proportion to their logarithms.
type scale struct {
	from, to   float64 // powers of ten
	start, end float64
}

func (s scale) at(v float64) float64 {
	return s.start + (s.end-s.start)*math.Log10(v/s.from)/math.Log10(s.to/s.from)
}

// scales fit the data into the picture.
func (p plot) scales() (x, y scale) {
	x = scale{from: math.Inf(1), start: svgLeft, end: svgWidth - svgRight}
	y = scale{from: math.Inf(1), start: svgHeight - svgBottom, end: svgTop}
	for _, s := range p.Series {
		for _, pt := range s.Points {
			x.from, x.to = min(x.from, pt.X), max(x.to, pt.X)
			y.from, y.to = min(y.from, pt.Y), max(y.to, pt.Y)
		}
	}
	for _, s := range []*scale{&x, &y} {
		s.from = math.Pow(10, math.Floor(math.Log10(s.from)))
		s.to = math.Pow(10, math.Ceil(math.Log10(s.to)))
		if s.to == s.from {
			s.to *= 10
		}
	}
	return x, y
}
