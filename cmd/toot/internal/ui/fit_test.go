package ui

import (
	"fmt"
	"slices"
	"testing"
)

func TestNamesThatDifferStayDifferent(t *testing.T) {
	var many []string
	for i := range 2000 {
		many = append(many, fmt.Sprintf("http://127.0.0.1:%d/callbacks", 10_000+i))
	}
	for name, texts := range map[string][]string{
		"the ports":        {"http://127.0.0.1:9001/callbacks", "http://127.0.0.1:9002/callbacks", "http://127.0.0.1:9003/callbacks"},
		"the beginning":    {"https://shop-a.example.org/webhooks/toot/callbacks", "https://shop-b.example.org/webhooks/toot/callbacks"},
		"the end":          {"https://app.example.org/webhooks/of/one/customer/1", "https://app.example.org/webhooks/of/one/customer/2"},
		"the middle":       {"https://app.example.org/a/long/way/to/customer-1/and/further/to/callbacks", "https://app.example.org/a/long/way/to/customer-2/and/further/to/callbacks"},
		"channels":         {"org.example.publisher.users.updated.v1", "org.example.publisher.users.created.v1", "org.example.publisher.users.updated.v2"},
		"wide characters":  {"日本日本日本日本日本日本日本日本1日本", "日本日本日本日本日本日本日本日本2日本"},
		"a short one, too": {"users", "http://127.0.0.1:9001/callbacks", "http://127.0.0.1:9002/callbacks"},
		"the same twice":   {"http://127.0.0.1:9001/callbacks", "http://127.0.0.1:9001/callbacks"},
		"many":             many,
	} {
		for _, most := range []int{14, 18, 24, 30} {
			if name == "many" && most < 24 {
				continue
			}
			got := FitNames(texts, most)
			for i, short := range got {
				if width(short) > most {
					t.Errorf("%s: %q is wider than %d", name, short, most)
				}
				if width(texts[i]) <= most && short != texts[i] {
					t.Errorf("%s: %q became %q, though it fits", name, texts[i], short)
				}
			}
			if want := distinct(texts); distinct(got) != want {
				t.Errorf("%s: at %d columns %d of %d look different: %q", name, most, distinct(got), want, got[:min(len(got), 5)])
			}
		}
	}
	if got, want := FitNames([]string{"http://127.0.0.1:9001/callbacks"}, 20), "http://12…/callbacks"; got[0] != want {
		t.Errorf("a single one is %q, want %q", got[0], want)
	}
	for most := range 8 { // nothing that small is asked for, but it has to end well
		FitNames([]string{"http://127.0.0.1:9001/", "http://127.0.0.1:9002/"}, most)
	}
}

func distinct(texts []string) int {
	sorted := slices.Clone(texts)
	slices.Sort(sorted)
	return len(slices.Compact(sorted))
}
