package ui

import (
	"slices"
	"strings"

	"github.com/rivo/uniseg"
)

const ellipsis = "…"

// partEnds are what the parts of URLs and names end with.
var partEnds = []string{"/", ":", ".", "-", "?", "="}

// Fit shortens text to a width, with an ellipsis where something is missing.
func Fit(text string, most int) string {
	if width(text) <= most {
		return text
	}
	c := clusters(text)
	return strings.Join(c[:fitting(c, most-1)], "") + ellipsis
}

// FitNames shortens texts, such as URLs, to a width, so that those that differ
// still do as far as that is possible: each keeps its beginning and its end, and
// how much of either is what tells the most of them apart. Where that is not
// enough, the beginning that all have in common is left out.
func FitNames(texts []string, most int) []string {
	var long []string // each once
	seen := map[string]bool{}
	for _, text := range texts {
		if !seen[text] && width(text) > most {
			long = append(long, text)
		}
		seen[text] = true
	}
	if len(long) == 0 {
		return texts
	}
	shown := fitNames(long, most)
	out := make([]string, len(texts))
	for i, text := range texts {
		out[i] = text
		if short, ok := shown[text]; ok {
			out[i] = short
		}
	}
	return out
}

// fitNames returns what is shown for each of some different texts.
func fitNames(texts []string, most int) (best map[string]string) {
	most = max(most, 2)
	common, tried := commonBeginning(texts), heads(most-1)
	if len(texts) > 1000 { // to try them all would take seconds
		tried = tried[:1]
	}
	apart := 0
	for _, without := range []int{0, common} {
		for _, head := range tried {
			shown, different := map[string]string{}, map[string]bool{}
			for _, text := range texts {
				short := fitEnds(text, without, head, most)
				shown[text], different[short] = short, true
			}
			if len(different) > apart {
				best, apart = shown, len(different)
			}
			if apart == len(texts) {
				return best
			}
		}
	}
	return best
}

// heads are the widths that a beginning may have, those near the middle first.
func heads(most int) []int {
	list := make([]int, 0, most+1)
	for i := range most + 1 {
		half := most / 2
		if i%2 == 0 {
			half += (i + 1) / 2
		} else {
			half -= (i + 1) / 2
		}
		if half >= 0 && half <= most {
			list = append(list, half)
		}
	}
	return list
}

// fitEnds shortens a text to a beginning of a width, and its end. Without counts
// the bytes at the beginning that are left out.
func fitEnds(text string, without, head, most int) string {
	text = text[without:]
	before := ""
	if without > 0 {
		before = ellipsis
		most, head = most-1, min(head, most-2)
	}
	if width(text) <= most {
		return before + text
	}
	c := clusters(text)
	begin := strings.Join(c[:fitting(c, max(head, 0))], "")
	room := most - 1 - width(begin)
	end := len(c)
	for end > 0 && width(c[end-1]) <= room {
		end--
		room -= width(c[end])
	}
	return before + begin + ellipsis + strings.Join(c[end:], "")
}

// commonBeginning counts the bytes with which all texts begin, up to the last sign
// that parts of URLs and names end with; without one, in whole characters.
func commonBeginning(texts []string) int {
	n, part := 0, 0
	for _, c := range clusters(texts[0]) {
		for _, text := range texts {
			if !strings.HasPrefix(text[n:], c) {
				if part > 0 {
					return part
				}
				return n
			}
		}
		n += len(c)
		if slices.Contains(partEnds, c) {
			part = n
		}
	}
	return n
}

// clusters are the characters of a text as they are read.
func clusters(text string) (list []string) {
	for rest := text; rest != ""; {
		var cluster string
		cluster, rest, _, _ = uniseg.FirstGraphemeClusterInString(rest, -1)
		list = append(list, cluster)
	}
	return list
}

// fitting counts the characters at the beginning that fit into a width.
func fitting(clusters []string, most int) int {
	used := 0
	for i, c := range clusters {
		if used += width(c); used > most {
			return i
		}
	}
	return len(clusters)
}
