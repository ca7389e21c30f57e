package redisengine_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/redisengine"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

// lifetime is for how long what testdata/format1 has written is remembered.
const lifetime = 50 * 365 * 24 * time.Hour

var remembering = engine.Retention{Dedupe: lifetime, DeadAge: lifetime}

// startFormat1 starts a server that has the data of testdata/format1/main.go.
func startFormat1(t *testing.T) *redistest.Server {
	t.Helper()
	dir, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	return redistest.Start(t, "dir "+dir, "dbfilename format1.rdb")
}

// onFormat1 runs a test on each of the namespaces of that data.
func onFormat1(t *testing.T, test func(t *testing.T, s *redistest.Server, e *redisengine.Engine)) {
	t.Parallel()
	for _, namespace := range []string{"one", "three"} {
		t.Run(namespace, func(t *testing.T) {
			t.Parallel()
			s := startFormat1(t)
			test(t, s, open(t, s.URL(), &redisengine.Options{Namespace: namespace, Shards: 7, Retention: remembering}))
		})
	}
}

const uuidOfFormat1 = "85f05e61-9b14-4062-a0a6-f9dd7272587d"

func eventOfFormat1(id string) *engine.Event {
	return &engine.Event{ID: id, Channel: "channel", Body: []byte("body of " + id), Meta: []byte("meta")}
}

// takeAll claims what is due, of all kinds, until there is no more.
func takeAll(t *testing.T, e *redisengine.Engine) map[string]engine.Claimed {
	t.Helper()
	all := map[string]engine.Claimed{}
	for _, kind := range []engine.Kind{engine.FanOut, engine.Deliver, engine.Handle} {
		for {
			res, err := e.Claim(t.Context(), engine.ClaimRequest{Kind: kind, Max: 5, MaxPerLane: 5, Lease: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			for _, j := range res.Jobs {
				name := j.Event.ID + " " + j.Lane.Name
				if _, ok := all[name]; ok {
					t.Errorf("%s was claimed twice", name)
				}
				all[name] = j
			}
			if len(res.Jobs) == 0 {
				break
			}
		}
	}
	return all
}

func same(t *testing.T, what string, got map[string]engine.Claimed, want ...string) {
	t.Helper()
	slices.Sort(want)
	if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, names, want)
	}
}

func settle(t *testing.T, e *redisengine.Engine, outcomes ...engine.Outcome) []engine.Settled {
	t.Helper()
	settled, err := e.Settle(t.Context(), outcomes)
	if err != nil {
		t.Fatal(err)
	}
	for i := range settled {
		if !settled[i].OK {
			t.Errorf("the outcome %d did not take effect", i)
		}
	}
	return settled
}

var dueInFormat1 = []string{
	uuidOfFormat1 + " waiting-1", uuidOfFormat1 + " waiting-2", "waiting waiting-1", "waiting waiting-2",
	"waiting other", "lapsed lapsed", "retrying retrying", "fanned channel", "fanned fanned-2",
}

// Everything that was to be done is done, once, and nothing else is.
func TestFormat1IsWorkedOn(t *testing.T) {
	onFormat1(t, func(t *testing.T, _ *redistest.Server, e *redisengine.Engine) {
		ctx := t.Context()
		all := takeAll(t, e)
		same(t, "what was due", all, dueInFormat1...)
		if body := string(all["waiting other"].Event.Body); body != "another body" {
			t.Errorf("an event of the same ID has the body %q", body)
		}
		for _, name := range []string{"waiting waiting-1", uuidOfFormat1 + " waiting-2", "lapsed lapsed"} {
			ev := all[name].Event
			want := eventOfFormat1(ev.ID)
			if string(ev.Body) != string(want.Body) || string(ev.Meta) != "meta" || ev.Channel != "channel" || ev.Replay != "" {
				t.Errorf("%s is of the event %+v", name, ev)
			}
		}
		if j := all["retrying retrying"]; j.Attempt != 2 || string(j.History) != "history" || j.Claims != 2 {
			t.Errorf("what was tried before is %+v", j)
		}
		if j := all["lapsed lapsed"]; j.Claims != 2 {
			t.Errorf("whose lease has ended is %+v", j)
		}

		// The tickets work, for every result.
		j := all["waiting waiting-1"]
		extended := settle(t, e, engine.Outcome{Ticket: j.Ticket, Result: engine.Extend, After: time.Hour, History: []byte("noted")})
		settle(t, e, engine.Outcome{Ticket: extended[0].Ticket, Result: engine.Release})
		again := takeAll(t, e)
		same(t, "a job that was released", again, "waiting waiting-1")
		if j := again["waiting waiting-1"]; string(j.History) != "noted" || j.Claims != 1 {
			t.Errorf("a job that was extended and released is %+v", j)
		}
		all["waiting waiting-1"] = again["waiting waiting-1"]
		settle(t, e, engine.Outcome{Ticket: all["lapsed lapsed"].Ticket, Result: engine.Retry})
		same(t, "a job to be tried again", takeAll(t, e), "lapsed lapsed")
		delete(all, "lapsed lapsed")
		delete(all, "fanned channel")
		for _, j := range all {
			settle(t, e, engine.Outcome{Ticket: j.Ticket, Result: engine.Done})
		}
		if err := e.Defer(ctx, deliver("deferred"), 0); err != nil {
			t.Fatal(err)
		}
		same(t, "a lane that was deferred", takeAll(t, e), "deferred deferred")

		stats, err := e.Lanes(ctx)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, l := range stats {
			got[l.Lane.Name] = fmt.Sprint(l.Waiting, l.Leased, l.Retrying, l.Dead)
		}
		want := map[string]string{
			"delayed": "1 0 0 0", "later": "1 0 1 0", "leased": "0 1 0 0", "claimed": "0 1 0 0", "lapsed": "0 1 0 0",
			"channel": "0 1 0 0", "dead": "0 0 0 1", "deferred": "0 1 0 0",
		}
		if !maps.Equal(got, want) {
			t.Errorf("the lanes hold\n%v, want\n%v", got, want)
		}
		page, err := e.LanePage(ctx, engine.LaneQuery{})
		if err != nil || len(page) != len(want)-1 {
			t.Errorf("a page of them: %v, %v", page, err)
		}
	})
}

// What was pushed is recognised, also where it is over, and by whatever queue
// the jobs of its event are found.
func TestFormat1IsRemembered(t *testing.T) {
	onFormat1(t, func(t *testing.T, _ *redistest.Server, e *redisengine.Engine) {
		push := func(ev *engine.Event, lanes ...engine.Lane) {
			t.Helper()
			var jobs []engine.Job
			for _, l := range lanes {
				jobs = append(jobs, engine.Job{Event: ev, Lane: l})
			}
			if _, err := e.Push(t.Context(), engine.PushRequest{Jobs: jobs}); err != nil {
				t.Fatal(err)
			}
		}
		again := func() {
			t.Helper()
			for _, id := range []string{uuidOfFormat1, "waiting"} {
				push(eventOfFormat1(id), deliver("waiting-1"), deliver("waiting-2"))
			}
			for _, id := range []string{"delayed", "leased", "claimed", "lapsed", "retrying", "later", "deferred"} {
				push(eventOfFormat1(id), deliver(id))
			}
			for _, id := range []string{"done", "dead"} {
				push(eventOfFormat1(id), engine.Lane{Kind: engine.Handle, Name: id})
			}
			push(eventOfFormat1("waiting"), deliver("other"))
			push(eventOfFormat1("fanned"), engine.Lane{Kind: engine.FanOut, Name: "channel"}, deliver("fanned-1"), deliver("fanned-2"))
		}
		again()
		all := takeAll(t, e)
		same(t, "what is due when all was pushed again", all, dueInFormat1...)

		// The fan-out is run again: in a step before the last, and in the last.
		push(all["fanned channel"].Event, deliver("fanned-1"), deliver("fanned-2"), deliver("fanned-3"))
		follow := []engine.Job{{Lane: deliver("fanned-1")}, {Lane: deliver("fanned-2")}, {Lane: deliver("fanned-3")}, {Lane: deliver("fanned-4")}}
		settle(t, e, engine.Outcome{Ticket: all["fanned channel"].Ticket, Result: engine.Done, Follow: follow})
		push(all["fanned channel"].Event, deliver("fanned-3"), deliver("fanned-4"))
		more := takeAll(t, e)
		same(t, "deliveries that the fan-out had not got to", more, "fanned fanned-3", "fanned fanned-4")
		delete(all, "fanned channel")
		maps.Copy(all, more)
		for _, j := range all {
			settle(t, e, engine.Outcome{Ticket: j.Ticket, Result: engine.Done})
		}
		again()
		push(eventOfFormat1("fanned"), deliver("fanned-3"), deliver("fanned-4"))
		same(t, "what is due when all is done and pushed again", takeAll(t, e))

		// Another channel or mark makes another event only where the old queue
		// does not know the ID, or if it is sent again on purpose.
		marked := eventOfFormat1("waiting")
		marked.Replay = "again"
		push(marked, deliver("waiting-1"))
		push(marked, deliver("waiting-1"))
		got := takeAll(t, e)
		same(t, "an event that is sent again on purpose", got, "waiting waiting-1")
		if mark := got["waiting waiting-1"].Event.Replay; mark != "again" {
			t.Errorf("its mark is %q", mark)
		}
	})
}

func TestFormat1DeadLetters(t *testing.T) {
	onFormat1(t, func(t *testing.T, _ *redistest.Server, e *redisengine.Engine) {
		ctx := t.Context()
		dead, err := e.Dead(ctx, engine.DeadQuery{Reason: "REAS", Lane: "dead", Channel: "channel"})
		if err != nil || len(dead) != 1 {
			t.Fatal(dead, err)
		}
		d := dead[0]
		if d.Event.ID != "dead" || string(d.Event.Body) != "body of dead" || d.Attempt != 3 || string(d.History) != "history" || d.Reason != "reason" {
			t.Errorf("the dead letter is %+v of %+v", d, d.Event)
		}
		// A new one is listed before it.
		if _, err := e.Push(ctx, engine.PushRequest{Jobs: []engine.Job{{Event: eventOfFormat1("new"), Lane: deliver("new")}}}); err != nil {
			t.Fatal(err)
		}
		j := takeAll(t, e)["new new"]
		settle(t, e, engine.Outcome{Ticket: j.Ticket, Result: engine.Bury, Reason: "new"})
		if dead, err = e.Dead(ctx, engine.DeadQuery{}); err != nil || len(dead) != 2 || dead[0].Event.ID != "new" || dead[1].ID != d.ID {
			t.Errorf("the dead letters are %+v, %v", dead, err)
		}
		if n, err := e.Redrive(ctx, []string{d.ID, dead[0].ID}); n != 2 || err != nil {
			t.Errorf("redriven: %d, %v", n, err)
		}
		got := takeAll(t, e)
		same(t, "redriven", got, "dead dead", "new new")
		settle(t, e, engine.Outcome{Ticket: got["dead dead"].Ticket, Result: engine.Done})
	})
}

func TestFormat1BesideJobs(t *testing.T) {
	onFormat1(t, func(t *testing.T, s *redistest.Server, e *redisengine.Engine) {
		ctx := t.Context()
		urls, err := e.Subscribers(ctx, "org.example.channel")
		if slices.Sort(urls); err != nil || strings.Join(urls, " ") != "http://a http://b" {
			t.Errorf("the subscribers are %v, %v", urls, err)
		}
		if a := audiences(t, e, 2, "org.example.channel"); len(a[0].CallbackURLs) != 2 {
			t.Errorf("the audience is %v", a)
		}
		a, err := e.Attribute(ctx, "signing", "http://a")
		if err != nil || string(a.Value) != "secret" || a.Age < 365*24*time.Hour || a.Left != 0 {
			t.Errorf("an attribute is %+v, %v", a, err)
		}
		if a, err := e.Attribute(ctx, "lease:org.example.channel", "http://a"); err != nil || string(a.Value) != "1700000000" {
			t.Errorf("the end of a registration is %+v, %v", a, err)
		}
		if ok, err := e.SwapAttribute(ctx, "signing", "http://a", []byte("secret"), []byte("new"), time.Hour); !ok || err != nil {
			t.Errorf("an attribute was swapped: %v, %v", ok, err)
		}
		// An older process sets another.
		key := "{one}:attributes:signing"
		if ok, _ := s.Try("HEXISTS", key, "http://a").AsInt64(); ok == 0 {
			t.Fatalf("%s is not where older versions look for it", key)
		}
		if a, err := e.Attribute(ctx, "signing", "http://a"); err != nil || string(a.Value) != "new" || a.Age > time.Minute || a.Left == 0 {
			t.Errorf("a new attribute is %+v, %v", a, err)
		}
		// A registration here is none that an older process would end.
		if _, err := e.AddSubscriber(ctx, "org.example.channel", "http://a", time.Hour); err != nil {
			t.Fatal(err)
		}
		if a, err := e.Attributes(ctx, "lease:org.example.channel"); err != nil || len(a) != 0 {
			t.Errorf("an older process ends the registration: %v, %v", a, err)
		}
		proof, err := e.Credential(ctx, "org.example.toot.auth.credentials_store", "user")
		if err != nil || string(proof) != "proof" {
			t.Errorf("a credential is %q, %v", proof, err)
		}
		if value, err := e.Remember(ctx, "key", []byte("other"), time.Hour); err != nil || string(value) != "value" {
			t.Errorf("what is remembered is %q, %v", value, err)
		}
	})
}

// Processes of older versions may go on for a week, and what is left of them is
// never given up.
func TestFormat1IsOver(t *testing.T) {
	t.Parallel()
	const sentence = "format 2, needs a newer toot; shards: 1"
	s := redistest.Start(t)
	for _, c := range []struct {
		name  string
		days  int
		key   string
		stays bool
	}{
		{"today", 0, "", true},
		{"six_days_ago", 6, "", true},
		{"eight_days_ago", 8, "", false},
		{"eight_days_ago_with_jobs", 8, "events", true},
		{"eight_days_ago_with_dead_letters", 8, "dead", true},
		{"eight_days_ago_remembered", 8, "seen:2", true},
		{"eight_days_ago_deferred", 8, "rest:deliver", true},
	} {
		s.Do("FLUSHALL")
		note := sentence + "; upgraded from format 1 on " + time.Now().UTC().AddDate(0, 0, -c.days).Format(time.DateOnly)
		s.Do("SET", "{toot}:shards", note)
		if c.key != "" {
			s.Do("HSET", "{toot:0}:"+c.key, "a", "b")
		}
		s.Do("HSET", "{toot:0}:meta", "clock", "1")
		e := open(t, s.URL(), nil)
		got, err := s.Try("GET", "{toot}:shards").ToString()
		if stays := got == note; err != nil || stays != c.stays || !stays && got != sentence {
			t.Errorf("%s: it says %q, %v", c.name, got, err)
		}
		_ = e.Close()
	}
}

// A process that is too old is refused with a sentence, which it finds where it
// looks for a number; and so is this version one day.
func TestFormatsAreRefused(t *testing.T) {
	t.Parallel()
	s := startFormat1(t)
	sentence := func(namespace string) string {
		text, err := s.Try("GET", "{"+namespace+"}:shards").ToString()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for namespace, want := range map[string]string{
		"one":   "format 2, needs a newer toot; shards: 1; upgraded from format 1 on " + time.Now().UTC().Format(time.DateOnly),
		"three": "format 2, needs a newer toot; shards: 3; upgraded from format 1 on " + time.Now().UTC().Format(time.DateOnly),
		"new":   "format 2, needs a newer toot; shards: 2",
	} {
		for range 2 {
			open(t, s.URL(), &redisengine.Options{Namespace: namespace, Shards: 2})
			if got := sentence(namespace); got != want {
				t.Errorf("it says %q, want %q", got, want)
			}
		}
	}
	for text, want := range map[string]string{
		"format 3, needs a newer toot; shards: 4; whatever":                          "of format 3, and this version of toot knows formats up to 2 only: use a newer one",
		"format 2, needs a newer toot; shards: 0":                                    "no possible number of shards",
		"format 2, needs a newer toot; shards: 1; upgraded from format 1 on one day": "of no version of toot",
		"0":    "no possible number of shards",
		"what": "of no version of toot",
		"":     "of no version of toot",
	} {
		s.Do("SET", "{bad}:shards", text)
		e, err := redisengine.Open(t.Context(), s.URL(), &redisengine.Options{Namespace: "bad", Logger: quiet})
		if err == nil {
			_ = e.Close()
			t.Errorf("a store that says %q was opened", text)
		} else if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "{bad}:shards") {
			t.Errorf("of a store that says %q: %v", text, err)
		}
	}
}

// Processes of the older version go on beside newer ones: what they push is
// handled once, by whoever comes first, and without delay.
func TestFormat1BesideFormat2(t *testing.T) {
	t.Parallel()
	for _, shards := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d_shards", shards), func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t)
			s.Do("SET", "{toot}:shards", fmt.Sprint(shards))
			old, now := open(t, s.URL(), nil), open(t, s.URL(), nil)
			old.AsFormat1()
			defer now.Watch(func(engine.Kind) {})()
			handled := map[string]int{}
			work := func(e *redisengine.Engine) {
				t.Helper()
				res, err := e.Claim(t.Context(), engine.ClaimRequest{Kind: engine.Deliver, Max: 3, MaxPerLane: 3, Lease: time.Minute})
				if err != nil {
					t.Fatal(err)
				}
				for _, j := range res.Jobs {
					settle(t, e, engine.Outcome{Ticket: j.Ticket, Result: engine.Done})
					handled[j.Event.ID]++
				}
			}
			const n = 200
			for i := range n {
				e := old
				if i%3 == 0 {
					e = now
				}
				push(t, e, fmt.Sprint(i))
				if i%2 == 0 {
					work(old)
				}
				work(now)
			}
			// Long before a lease of these would end.
			redistest.Eventually(t, "all are handled", func() bool { work(now); return len(handled) == n })
			for id, times := range handled {
				if times > 1 {
					t.Errorf("%s was handled %d times", id, times)
				}
			}
			push(t, old, "last")
			redistest.Eventually(t, "what was pushed last is handled", func() bool { work(now); return handled["last"] == 1 })
		})
	}
}
