package enginetest

import (
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// What AddSubscriber and RemoveSubscriber say about time.
var registrationChecks = []check{
	{"with_a_lease_lasts_until_that_ends", 0, registrationEnds},
	{"with_a_lease_that_ended_is_as_if_removed", 0, registrationEnded},
	{"without_a_lease_does_not_end", 0, registrationEndless},
	{"is_renewed_by_adding_again", 0, registrationRenewed},
	{"with_a_lease_may_become_one_without_end", 0, registrationMadeEndless},
	{"without_end_may_become_one_with_a_lease", 0, registrationMadeToEnd},
	{"of_one_channel_ends_on_its_own", 0, registrationOthers},
	{"is_removed_only_if_it_is_old_enough", 0, registrationOlder},
	{"is_young_again_when_added_again", 0, registrationYoung},
	{"is_known_to_every_engine_and_survives", sharing, registrationShared},
}

func (c *client) addFor(channel, url string, lease time.Duration, want bool) {
	c.e.Helper()
	added, err := c.AddSubscriber(c.e.ctx, channel, url, lease)
	if err != nil {
		c.e.Fatalf("engine %s: AddSubscriber(%q, %q, %v): %v", c.name, channel, url, lease, err)
	}
	if added != want {
		c.e.Fatalf("AddSubscriber must report whether the URL was new: got %v for %q on %q with a lease of %v", added, url, channel, lease)
	}
}

func (c *client) removeOlder(rule, channel, url string, olderThan time.Duration, want bool) {
	c.e.Helper()
	removed, err := c.RemoveSubscriber(c.e.ctx, channel, url, olderThan)
	if err != nil {
		c.e.Fatalf("engine %s: RemoveSubscriber(%q, %q, %v): %v", c.name, channel, url, olderThan, err)
	}
	if removed != want {
		c.e.Fatalf("%s: engine %s: RemoveSubscriber(%q, %q, %v) reported %v, want %v", rule, c.name, channel, url, olderThan, removed, want)
	}
}

// subscribed looks in every way whether a URL is a subscriber of a channel.
func (c *client) subscribed(channel, url string) (ways map[string]bool) {
	c.e.Helper()
	audience := c.audience(1000, []string{channel})[0]
	if audience.Err != nil {
		c.e.Fatalf("engine %s: the audience of %q: %v", c.name, channel, audience.Err)
	}
	return map[string]bool{
		"Subscribers": slices.Contains(c.subscribers(channel), url),
		"Push":        slices.Contains(audience.CallbackURLs, url),
		"Channels":    slices.Contains(c.channels(channel)[channel], url),
	}
}

// lapses makes sure that a registration is there until d after called, and
// gone at some time.
func (c *client) lapses(rule string, called time.Time, d time.Duration, channel, url string) {
	c.e.Helper()
	c.e.eventually(rule, func() bool {
		gone := 0
		var ways map[string]bool
		c.e.asks(func() { ways = c.subscribed(channel, url) })
		early := d - time.Since(called)
		for way, there := range ways {
			if there {
				continue
			}
			gone++
			if early > c.e.grain() {
				c.e.Fatalf("%s: to %s it was over %v too early, of %v", rule, way, early, d)
			}
		}
		return gone == len(ways)
	})
}

// stays makes sure that a URL is a subscriber, in every way.
func (c *client) stays(rule, channel, url string) {
	c.e.Helper()
	for way, there := range c.subscribed(channel, url) {
		if !there {
			c.e.Fatalf("%s: to %s %q is no subscriber of %q", rule, way, url, channel)
		}
	}
}

func registrationEnds(e *env) {
	a := e.open()
	called := time.Now()
	a.addFor(channel, url1, brief, true)
	a.lapses("a registration with a lease lasts until that ends", called, brief, channel, url1)
	if all := a.channels(""); len(all) != 0 {
		e.Errorf("a channel whose registrations have all ended must not be listed: got %q", all)
	}
}

func registrationEnded(e *env) {
	a := e.open()
	a.addFor(channel, url1, brief, true)
	a.addFor("other", url1, brief, true)
	a.addFor(channel, url2, long, true)
	e.pass(time.Now(), brief)
	// Whoever asks first, nothing must have looked before.
	a.removeOlder("a registration that has ended is not there to be removed", channel, url1, 0, false)
	a.addFor("other", url1, brief, true)
	a.has("a registration that has ended is no subscriber", channel, url2)
	a.addFor(channel, url1, 0, true)
	a.has("a callback URL can be added again when its registration has ended", channel, url1, url2)
	a.addFor(channel, url1, 0, false)
}

func registrationEndless(e *env) {
	a := e.open()
	a.addFor(channel, url1, 0, true)
	a.addFor(channel, url2, -long, true)
	a.addFor("other", url1, long, true)
	e.pass(time.Now(), brief)
	a.stays("a registration without a lease does not end", channel, url1)
	a.stays("a lease of less than zero is none", channel, url2)
	a.stays("a registration does not end before its lease", "other", url1)
}

func registrationRenewed(e *env) {
	a := e.open()
	a.addFor(channel, url1, 2*brief, true)
	var called time.Time
	for range 4 {
		time.Sleep(brief / 2)
		called = time.Now()
		// On a slow machine it may have ended: then it is new.
		if _, err := a.AddSubscriber(e.ctx, channel, url1, 2*brief); err != nil {
			e.Fatalf("AddSubscriber: %v", err)
		}
	}
	a.lapses("a registration that is added again lasts as long as the last call says", called, 2*brief, channel, url1)

	a.addFor(channel, url2, long, true)
	called = time.Now()
	a.addFor(channel, url2, brief, false)
	a.lapses("a registration may be made to end earlier", called, brief, channel, url2)
}

func registrationMadeEndless(e *env) {
	a := e.open()
	for _, lease := range []time.Duration{0, long} {
		url := url1 + lease.String()
		called := time.Now()
		a.addFor(channel, url, 4*brief, true)
		added, err := a.AddSubscriber(e.ctx, channel, url, lease)
		if err != nil || added && time.Since(called) < 4*brief {
			e.Fatalf("AddSubscriber again must report that the URL was there: got %v, %v", added, err)
		}
		e.pass(time.Now(), 4*brief)
		a.stays("a registration that was added again without a lease, or with a longer one, goes on", channel, url)
		a.addFor(channel, url, lease, false)
	}
}

func registrationMadeToEnd(e *env) {
	a := e.open()
	a.addFor(channel, url1, 0, true)
	called := time.Now()
	a.addFor(channel, url1, brief, false)
	a.lapses("a registration that is added again with a lease ends", called, brief, channel, url1)
	a.addFor(channel, url1, 0, true)
	e.pass(time.Now(), brief)
	a.stays("a registration without a lease does not end, whatever it was before", channel, url1)
}

func registrationOthers(e *env) {
	a := e.open()
	a.addFor("one", url1, 0, true)
	a.addFor("two", url1, long, true)
	a.addFor("one", url2, long, true)
	called := time.Now()
	a.addFor("three", url1, brief, true)
	a.lapses("a registration ends on its own channel", called, brief, "three", url1)
	a.has("that a registration ended leaves others alone", "one", url1, url2)
	a.has("that a registration ended leaves others alone", "two", url1)
}

func registrationOlder(e *env) {
	a := e.open()
	a.removeOlder("what is not there is not removed", channel, url1, brief, false)
	for _, lease := range []time.Duration{0, long} {
		a.addFor(channel, url1, lease, true)
		added := time.Now()
		a.removeOlder("a registration younger than olderThan is not removed", channel, url1, long, false)
		a.stays("a registration younger than olderThan is not removed", channel, url1)
		e.pass(added, brief)
		a.removeOlder("a registration younger than olderThan is not removed", channel, url1, long, false)
		a.removeOlder("a registration at least as old as olderThan is removed", channel, url1, brief, true)
		a.has("a registration at least as old as olderThan is removed", channel)
		a.removeOlder("a registration is removed once", channel, url1, brief, false)
	}
	for _, olderThan := range []time.Duration{0, -1, -long} {
		a.addFor(channel, url1, 0, true)
		a.removeOlder("with an olderThan of zero or less, a registration of any age is removed", channel, url1, olderThan, true)
	}
}

// The age counts from the last AddSubscriber, not from the first.
func registrationYoung(e *env) {
	a := e.open()
	for _, lease := range []time.Duration{0, long} {
		a.addFor(channel, url1, lease, true)
		e.pass(time.Now(), brief)
		for range 20 {
			called := time.Now()
			a.addFor(channel, url1, lease, false)
			removed, err := a.RemoveSubscriber(e.ctx, channel, url1, brief)
			if err != nil {
				e.Fatalf("RemoveSubscriber: %v", err)
			}
			took := time.Since(called)
			if !removed {
				break
			}
			if took < brief-clockGrain {
				e.Fatalf("a registration must be as old as the last AddSubscriber: it counted as %v old within %v after that", brief, took)
			}
			// The machine is slow: that says nothing. Once more.
			a.addFor(channel, url1, lease, true)
			e.pass(time.Now(), brief)
		}
		a.remove(channel, url1, true)
	}
}

func registrationShared(e *env) {
	a, b := e.open(), e.open()
	called := time.Now()
	a.addFor(channel, url1, brief, true)
	b.lapses("a registration ends for every engine on the store", called, brief, channel, url1)
	b.addFor(channel, url1, 0, true)
	a.removeOlder("the age of a registration is known to every engine", channel, url1, long, false)
	a.addFor(channel, url2, long, true)
	e.pass(time.Now(), brief)
	a.close()
	b.close()
	c := e.open()
	c.has("registrations survive, with their leases", channel, url1, url2)
	c.removeOlder("the age of a registration survives", channel, url1, long, false)
	c.removeOlder("the age of a registration survives", channel, url1, brief, true)
	c.addFor(channel, url2, brief, false)
	c.close()
	e.pass(time.Now(), brief)
	d := e.open()
	d.has("a registration ends whether an engine is open or not", channel)
	if res, err := d.Push(e.ctx, engine.PushRequest{Channels: []string{channel}, MaxSubscribers: 1}); err != nil || len(res.Audiences[0].CallbackURLs) != 0 {
		e.Errorf("a registration must end whether an engine is open or not: the audience is %+v, %v", res.Audiences, err)
	}
}
