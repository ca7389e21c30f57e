package main

import (
	"slices"
	"strings"
)

// What counts as not slower. A rate is asked only to reach its bound with its
// interval; of processor time and allocations the estimates count.
const (
	leastSpeed = 0.97 // of REF's, to be reached by the upper end of the interval
	mostCPU    = 1.03 // times REF's
	moreAllocs = 0.5  // an event
)

// comparison is how a row does here beside REF.
type comparison struct {
	speed, cpu interval // ratios
	allocs     interval // more here than there, for each event
}

func compare(here, ref []figures) comparison {
	each := func(all []figures, f func(figures) float64) []float64 {
		var values []float64
		for _, one := range all {
			values = append(values, f(one))
		}
		return values
	}
	allocs := func(f figures) float64 { return f.Allocs }
	return comparison{
		speed:  ratio(each(here, figures.speed), each(ref, figures.speed)),
		cpu:    ratio(each(here, figures.cpu), each(ref, figures.cpu)),
		allocs: difference(each(here, allocs), each(ref, allocs)),
	}
}

// slower says in what a row is slower than at REF; nothing if it is not. A
// question mark means that the estimate is over the bound while its interval
// reaches it: it may be chance.
func (c comparison) slower() []string {
	var in []string
	if c.speed.high < leastSpeed {
		in = append(in, "speed")
	}
	over := func(what string, i interval, bound float64) {
		switch {
		case i.low > bound:
			in = append(in, what)
		case i.estimate > bound:
			in = append(in, what+"?")
		}
	}
	over("CPU", c.cpu, mostCPU)
	over("allocs", c.allocs, moreAllocs)
	return in
}

// unsure reports that all a row is slower in may be chance.
func (c comparison) unsure() bool {
	in := c.slower()
	return len(in) > 0 && !slices.ContainsFunc(in, func(what string) bool { return !strings.HasSuffix(what, "?") })
}
