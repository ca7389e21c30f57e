package enginetest

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

var subscriberChecks = []check{
	{"are_added_once", 0, subscribersAdd},
	{"are_removed_once", 0, subscribersRemove},
	{"belong_to_one_channel", 0, subscribersChannels},
	{"added_by_many_at_once_are_new_to_one", 0, subscribersRace},
	{"keep_every_character", 0, subscribersCharacters},
	{"may_be_many", 0, subscribersMany},
	{"are_listed_by_the_prefix_of_their_channels", 0, channelsPrefix},
	{"are_listed_by_a_prefix_that_is_no_pattern", 0, channelsNoPattern},
	{"changed_by_another_engine_are_seen", sharing, subscribersShared},
}

const (
	url1 = "https://one.example.org/callbacks"
	url2 = "https://two.example.org/callbacks"
)

func (c *client) add(channel, url string, want bool) {
	c.e.Helper()
	added, err := c.AddSubscriber(c.e.ctx, channel, url, 0)
	if err != nil {
		c.e.Fatalf("engine %s: AddSubscriber(%q, %q): %v", c.name, channel, url, err)
	}
	if added != want {
		c.e.Fatalf("AddSubscriber must report whether the URL was new: got %v for %q on %q", added, url, channel)
	}
}

func (c *client) remove(channel, url string, want bool) {
	c.e.Helper()
	removed, err := c.RemoveSubscriber(c.e.ctx, channel, url, 0)
	if err != nil {
		c.e.Fatalf("engine %s: RemoveSubscriber(%q, %q): %v", c.name, channel, url, err)
	}
	if removed != want {
		c.e.Fatalf("RemoveSubscriber must report whether the URL was there: got %v for %q on %q", removed, url, channel)
	}
}

func (c *client) subscribers(channel string) []string {
	c.e.Helper()
	urls, err := c.Subscribers(c.e.ctx, channel)
	if err != nil {
		c.e.Fatalf("engine %s: Subscribers(%q): %v", c.name, channel, err)
	}
	return sorted(urls)
}

// has holds the subscribers of a channel against urls, which are in order.
func (c *client) has(rule, channel string, urls ...string) {
	c.e.Helper()
	if got := c.subscribers(channel); !slices.Equal(got, urls) {
		c.e.Fatalf("%s: subscribers of %q are %q, want %q", rule, channel, got, urls)
	}
}

func (c *client) channels(prefix string) map[string][]string {
	c.e.Helper()
	all, err := c.Channels(c.e.ctx, prefix)
	if err != nil {
		c.e.Fatalf("engine %s: Channels(%q): %v", c.name, prefix, err)
	}
	return all
}

func subscribersAdd(e *env) {
	a := e.open()
	a.has("a channel that nobody knows has no subscribers", channel)
	a.add(channel, url1, true)
	a.has("a subscriber is there when AddSubscriber returned", channel, url1)
	a.add(channel, url1, false)
	a.add(channel, url2, true)
	a.add(channel, url1, false)
	a.has("a subscriber that is added again is there once", channel, url1, url2)
}

func subscribersRemove(e *env) {
	a := e.open()
	a.remove(channel, url1, false)
	a.add(channel, url1, true)
	a.add(channel, url2, true)
	a.remove(channel, url1, true)
	a.has("a subscriber is gone when RemoveSubscriber returned", channel, url2)
	a.remove(channel, url1, false)
	a.add(channel, url1, true)
	a.has("a subscriber can be added again", channel, url1, url2)
	a.remove(channel, url1, true)
	a.remove(channel, url2, true)
	a.has("a channel whose subscribers were removed has none", channel)
	if all := a.channels(""); len(all) != 0 {
		e.Fatalf("Channels must list only channels that have subscribers: got %q", all)
	}
}

func subscribersChannels(e *env) {
	a := e.open()
	a.add("one", url1, true)
	a.has("a subscriber belongs to the channel it was added to", "two")
	a.add("two", url1, true)
	a.remove("one", url1, true)
	a.has("a subscriber is removed from one channel only", "two", url1)
	a.has("channels are told apart by upper and lower case", "TWO")
	a.add("Two", url1, true)
}

func subscribersRace(e *env) {
	clients := []*client{e.open()}
	if !e.h.NotShared {
		clients = append(clients, e.open())
	}
	for _, what := range []string{"AddSubscriber", "RemoveSubscriber"} {
		for i := range 5 {
			url := fmt.Sprint(url1, i)
			var wg sync.WaitGroup
			var yes atomic.Int32
			for k := range 8 {
				wg.Go(func() {
					call := clients[k%len(clients)].AddSubscriber
					if what == "RemoveSubscriber" {
						call = clients[k%len(clients)].RemoveSubscriber
					}
					changed, err := call(e.ctx, channel, url, 0)
					if err != nil {
						e.Errorf("%s by several at once: %v", what, err)
					}
					if changed {
						yes.Add(1)
					}
				})
			}
			wg.Wait()
			if n := yes.Load(); n != 1 {
				e.Fatalf("%s of one URL by several at once must report true to exactly one: got %d", what, n)
			}
		}
	}
}

// strange are names that a pattern or an escape would spoil. None is the
// prefix of another.
var strange = []string{
	"%", "_", "*", "?", "[a-z]", "\\", "^", "{x}", "'", "\"", ":", "|", " ", "a%b", "a_b", "a*b", "a?b", "a[b]", "a\\b", "a\\\\",
	"axb", "ünïcode", "日本", "🦉", "é", "e\u0301", "Upper", "upper", "new\nline", "tab\t",
}

func subscribersCharacters(e *env) {
	a := e.open()
	for _, s := range strange {
		a.add("channel "+s, "https://example.org/"+s, true)
	}
	for _, s := range strange {
		a.has("channels and URLs may have any characters", "channel "+s, "https://example.org/"+s)
		a.add("channel "+s, "https://example.org/"+s, false)
		a.remove("channel "+s, "https://example.org/"+s, true)
		a.has("a subscriber with any characters can be removed", "channel "+s)
	}
}

func subscribersMany(e *env) {
	a := e.open()
	var want []string
	for i := range 300 {
		url := fmt.Sprintf("https://subscriber%03d.example.org", i)
		a.add(channel, url, true)
		want = append(want, url)
	}
	a.has("a channel may have many subscribers", channel, want...)
}

func channelsPrefix(e *env) {
	a := e.open()
	if all := a.channels(""); len(all) != 0 {
		e.Fatalf("Channels of an empty store must be none: got %q", all)
	}
	for _, c := range []string{"org.example.users", "org.example.users.updated", "org.example.orders", "org.other", "ORG.example.users"} {
		a.add(c, url2, true)
		a.add(c, url1, true)
	}
	both := []string{url1, url2} // in ascending order
	for prefix, names := range map[string][]string{
		"org.example.users":                     {"org.example.users", "org.example.users.updated"},
		"org.example.":                          {"org.example.orders", "org.example.users", "org.example.users.updated"},
		"org.":                                  {"org.example.orders", "org.example.users", "org.example.users.updated", "org.other"},
		"":                                      {"ORG.example.users", "org.example.orders", "org.example.users", "org.example.users.updated", "org.other"},
		"org.example.users.updated":             {"org.example.users.updated"},
		"example":                               nil,
		"org.example.users.updated.v1.and.more": nil,
	} {
		got := a.channels(prefix)
		if len(got) != len(names) {
			e.Errorf("Channels must list the channels with the prefix: got %q for %q, want %q", got, prefix, names)
			continue
		}
		for _, c := range names {
			if !slices.Equal(got[c], both) {
				e.Errorf("Channels must list the URLs of each channel in ascending order: got %q for %q, want %q", got[c], c, both)
			}
		}
	}
}

func channelsNoPattern(e *env) {
	a := e.open()
	// Some stores have names of their own that no channel can have; none of them
	// begins like these.
	for _, s := range strange {
		a.add("a "+s+" and more", url1, true)
	}
	for _, s := range strange {
		got := a.channels("a " + s)
		if len(got) != 1 || !slices.Equal(got["a "+s+" and more"], []string{url1}) {
			e.Errorf("the prefix of Channels must be no pattern: got %q for %q", got, s)
		}
	}
}

func subscribersShared(e *env) {
	a, b := e.open(), e.open()
	b.has("a channel that nobody knows has no subscribers", channel) // and b may remember it
	a.add(channel, url1, true)
	b.has("a subscriber that another engine added is there at once", channel, url1)
	b.add(channel, url1, false)
	a.add(channel, url2, true)
	b.has("a second subscriber that another engine added is there at once", channel, url1, url2)
	b.remove(channel, url1, true)
	a.has("a subscriber that another engine removed is gone at once", channel, url2)
	a.remove(channel, url1, false)
	if got := a.channels(""); !slices.Equal(got[channel], []string{url2}) {
		e.Errorf("Channels must show what another engine changed: got %q", got)
	}
}
