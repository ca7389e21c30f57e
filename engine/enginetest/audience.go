package enginetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// What Push answers about the subscribers of channels.
var audienceChecks = []check{
	{"has_the_subscribers_of_each_channel", 0, audienceChannels},
	{"is_told_without_jobs", 0, audienceWithoutJobs},
	{"is_told_beside_jobs", 0, audienceBesideJobs},
	{"says_More_beyond_MaxSubscribers", 0, audienceMore},
	{"keeps_every_character", 0, audienceCharacters},
	{"has_who_was_added_right_before", 0, func(e *env) { audienceFresh(e, e.open(), nil) }},
	{"has_who_was_added_elsewhere_right_before", sharing, func(e *env) { audienceFresh(e, e.open(), e.open()) }},
	{"has_who_was_added_while_invalidations_are_held_up", sharing | stalls, audienceStalled},
	{"of_a_channel_that_cannot_be_read_has_an_error_of_its_own", breaks, audienceBroken},
}

// audience asks for the subscribers of channels, and pushes jobs, if any.
func (c *client) audience(most int, channels []string, jobs ...engine.Job) []engine.Audience {
	c.e.Helper()
	res, err := c.Push(c.e.ctx, engine.PushRequest{Jobs: jobs, Channels: channels, MaxSubscribers: most})
	if err != nil {
		c.e.Fatalf("engine %s: Push of %d jobs that asks for %q: %v", c.name, len(jobs), channels, err)
	}
	if len(res.Tickets) != len(jobs) || len(res.Audiences) != len(channels) {
		c.e.Fatalf("Push must return one ticket for each job and one audience for each channel: got %d and %d, want %d and %d", len(res.Tickets), len(res.Audiences), len(jobs), len(channels))
	}
	for i, a := range res.Audiences {
		if a.More && a.CallbackURLs != nil {
			c.e.Fatalf("an audience with More must list nobody: got %d of %q", len(a.CallbackURLs), channels[i])
		}
		if len(a.CallbackURLs) > most {
			c.e.Fatalf("an audience must list no more than MaxSubscribers: got %d of %d", len(a.CallbackURLs), most)
		}
	}
	return res.Audiences
}

// tells holds an audience against the callback URLs that it must list.
func (c *client) tells(rule, channel string, a engine.Audience, urls ...string) {
	c.e.Helper()
	if a.Err != nil || a.More || !slices.Equal(sorted(a.CallbackURLs), sorted(urls)) {
		c.e.Fatalf("%s: engine %s: the audience of %q is %q, more %v, error %v; want %q", rule, c.name, channel, a.CallbackURLs, a.More, a.Err, urls)
	}
}

func audienceChannels(e *env) {
	a := e.open()
	a.add("users", url1, true)
	a.add("orders", url2, true)
	a.add("orders", url1, true)
	a.add("user", "https://not-asked-for.example.org", true)
	channels := []string{"orders", "unknown", "users", "orders"}
	got := a.audience(2, channels)
	a.tells("an audience has the subscribers of its channel", channels[0], got[0], url1, url2)
	a.tells("a channel that nobody knows has no audience", channels[1], got[1])
	a.tells("an audience has the subscribers of its channel", channels[2], got[2], url1)
	a.tells("a channel that is asked for twice is answered twice", channels[3], got[3], url1, url2)
	a.remove("orders", url1, true)
	a.tells("an audience lacks who was removed", "orders", a.audience(2, []string{"orders"})[0], url2)
}

func audienceWithoutJobs(e *env) {
	a := e.open()
	a.add("users", url1, true)
	got := a.audience(1, []string{"users"})
	a.tells("Push without jobs tells the audience", "users", got[0], url1)
	if all := a.take(); len(all) != 0 {
		e.Errorf("Push without jobs must store none: there was %s", list(all))
	}
}

func audienceBesideJobs(e *env) {
	a, l := e.open(), deliver("lane")
	a.add("users", url1, true)
	// The channels need not be those of the jobs.
	js := jobs("e", 3, l)
	a.tells("Push with jobs tells the audience", "users", a.audience(1, []string{"users"}, js...)[0], url1)
	a.takeN(3, l)
	// Also if there is nothing new to store.
	a.tells("Push of jobs that are there tells the audience", "users", a.audience(1, []string{"users"}, js...)[0], url1)
	a.none("pushing jobs again is a no-op, whatever is asked for", l)
	if res, err := a.Push(e.ctx, engine.PushRequest{Jobs: jobs("other", 1, l)}); err != nil || len(res.Audiences) != 0 {
		e.Errorf("Push that asks for no channels must tell of none: got %d, %v", len(res.Audiences), err)
	}
}

func audienceMore(e *env) {
	a := e.open()
	var all []string
	for i := range 60 {
		all = append(all, fmt.Sprintf("https://subscriber%02d.example.org", i))
		a.add("many", all[i], true)
	}
	a.add("few", url1, true)
	for _, most := range []int{1, 2, 59, 60, 61, 1_000_000} {
		got := a.audience(most, []string{"few", "many", "none"})
		a.tells("a channel with no more subscribers than MaxSubscribers is told", "few", got[0], url1)
		a.tells("a channel without subscribers is told", "none", got[2])
		if got[0].Count != 1 || got[1].Count != len(all) || got[2].Count != 0 {
			e.Errorf("an audience must count its members, listed or not: with a limit of %d got %d, %d and %d, want 1, %d and 0", most, got[0].Count, got[1].Count, got[2].Count, len(all))
		}
		if most >= len(all) {
			a.tells("a channel with no more subscribers than MaxSubscribers is told", "many", got[1], all...)
		} else if !got[1].More || got[1].Err != nil {
			e.Errorf("an audience of more than MaxSubscribers must say so: of %d with a limit of %d got %+v", len(all), most, got[1])
		}
	}
	// And back below the limit.
	for _, url := range all[10:] {
		a.remove("many", url, true)
	}
	a.tells("a channel that has become small enough is told", "many", a.audience(10, []string{"many"})[0], all[:10]...)
	a.add("many", url1, true)
	if got := a.audience(10, []string{"many"})[0]; !got.More {
		e.Errorf("an audience that has become too large must say so: got %+v", got)
	}
}

func audienceCharacters(e *env) {
	a := e.open()
	var channels []string
	for _, s := range strange {
		a.add("channel "+s, "https://example.org/"+s, true)
		channels = append(channels, "channel "+s)
	}
	for i, got := range a.audience(1, channels) {
		a.tells("channels and URLs may have any characters", channels[i], got, "https://example.org/"+strange[i])
	}
}

// audienceFresh adds and removes subscribers through one engine and asks the
// other at once, over and over, so that an answer from memory shows.
func audienceFresh(e *env, a, b *client) {
	e.Helper()
	if b == nil {
		b = a
	}
	const rounds = 150
	var there []string
	for i := range rounds {
		ask := []string{"other", channel}
		url := fmt.Sprintf("https://subscriber%d.example.org", i)
		if i%7 == 3 { // after a rest, in which a memory may be filled or forgotten
			time.Sleep(clockGrain)
		}
		a.add(channel, url, true)
		there = append(there, url)
		b.tells("an audience has everyone who was added before the call began", channel, b.audience(rounds, ask)[1], there...)
		b.has("Subscribers has everyone who was added before the call began", channel, sorted(there)...)
		if i%3 == 2 {
			a.remove(channel, there[0], true)
			there = there[1:]
			b.tells("an audience lacks everyone who was removed before the call began", channel, b.audience(rounds, ask)[1], there...)
		}
		if i%2 == 1 {
			a, b = b, a
		}
	}
}

// What an engine keeps in memory may be told late that it is out of date. The
// answer must be right all the same.
func audienceStalled(e *env) {
	a, b := e.open(), e.open()
	a.add(channel, url1, true)
	for range 3 { // and b may remember the answer
		b.tells("an audience has the subscribers of its channel", channel, b.audience(10, []string{channel})[0], url1)
		b.has("a subscriber that another engine added is there", channel, url1)
		e.tick()
	}
	resume := e.h.Stall(b.Engine)
	defer resume()
	a.add(channel, url2, true)
	b.tells("an audience has who was added while invalidations are held up", channel, b.audience(10, []string{channel})[0], url1, url2)
	b.has("Subscribers has who was added while invalidations are held up", channel, url1, url2)
	a.remove(channel, url1, true)
	b.tells("an audience lacks who was removed while invalidations are held up", channel, b.audience(10, []string{channel})[0], url2)
	b.has("Subscribers lacks who was removed while invalidations are held up", channel, url2)
}

func audienceBroken(e *env) {
	a, l := e.open(), deliver("lane")
	for _, c := range []string{"good", "broken", "fine"} {
		a.add(c, url1, true)
	}
	e.h.BreakChannel(a.Engine, "broken")
	got := a.audience(10, []string{"good", "broken", "fine"}, jobs("e", 2, l)...)
	a.tells("a channel that cannot be read does not stop the others", "good", got[0], url1)
	a.tells("a channel that cannot be read does not stop the others", "fine", got[2], url1)
	if got[1].Err == nil {
		e.Errorf("the audience of a channel that cannot be read must have an error: got %+v", got[1])
	}
	if js := a.take(l); len(js) != 2 {
		e.Errorf("a channel that cannot be read must not stop the jobs: claimed %s, want 2", list(js))
	}
}
