package sidekiq_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/cmd/toot/internal/sidekiq"
	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/redisengine"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

const channel = "org.example.publisher.users.updated.v1"

func event(id string) string {
	return fmt.Sprintf(`{"id":%q,"timestamp":"2026-11-23 09:11:13 UTC","payload":{"n":12345678901234567890123, "a":"\u003c"},"channel":%q}`, id, channel)
}

func published(id, more string) string {
	return fmt.Sprintf(`{"retry":true,"queue":"default","args":[%s],"class":"Toot::PublishesEvent","jid":"%s","created_at":1795425073.73%s}`, event(id), id, more)
}

func called(id, more string) string {
	return fmt.Sprintf(`{"class":"Toot::CallsEventCallback","args":["http://subscriber.example/cb",%s],"jid":"%s"%s}`, event(id), id, more)
}

func handled(id string) string {
	return fmt.Sprintf(`{"class":"Toot::CallsHandlers","args":[%s],"jid":"%s"}`, event(id), id)
}

const foreign = `{"class":"SendsMail","args":["Toot::PublishesEvent"],"jid":"x%d"}`

// install fills a server as Sidekiq would have it: with n jobs of each sort in
// the queue, in between those of others.
func install(s *redistest.Server, n int) {
	parts, _ := s.Try("TIME").AsStrSlice()
	now, _ := strconv.ParseFloat(parts[0], 64)
	at := func(d time.Duration) string { return strconv.FormatFloat(now+d.Seconds(), 'f', 3, 64) }
	s.Do("SADD", "queues", "default", "mail")
	jobs := []string{"LPUSH", "queue:default"}
	for i := range n {
		jobs = append(jobs, published(fmt.Sprintf("p%d", i), ""), fmt.Sprintf(foreign, i), called(fmt.Sprintf("c%d", i), ""), handled(fmt.Sprintf("h%d", i)))
	}
	s.Do(jobs...)
	s.Do("LPUSH", "queue:mail", fmt.Sprintf(foreign, -1), `{"class":"Toot::PublishesEvent","args":[]}`, "no JSON of Toot::")
	s.Do("ZADD", "schedule", at(time.Hour), published("scheduled", ""), at(time.Hour), fmt.Sprintf(foreign, -2))
	s.Do("ZADD", "retry", at(30*time.Minute), called("retry", `,"retry_count":3,"error_class":"Toot::Failure","error_message":"500"`), at(-time.Minute), called("retry-now", `,"retry_count":0`))
	s.Do("ZADD", "dead", at(-time.Hour), called("dead", `,"retry_count":25,"error_class":"Toot::Failure","error_message":"status 500"`), at(0), fmt.Sprintf(foreign, -3))
}

var options = sidekiq.Options{Subscriptions: func(c string) []string {
	if c == channel {
		return []string{"one", "two"}
	}
	return nil
}}

func start(t *testing.T) (*redistest.Server, *redisengine.Engine) {
	t.Helper()
	s := redistest.Start(t)
	return s, open(t, s)
}

func open(t *testing.T, s *redistest.Server) *redisengine.Engine {
	t.Helper()
	e, err := redisengine.Open(t.Context(), s.URL(), &redisengine.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// claimAll claims what is due.
func claimAll(t *testing.T, e engine.Engine, kind engine.Kind) map[string]engine.Claimed {
	t.Helper()
	all := make(map[string]engine.Claimed)
	for {
		res, err := e.Claim(t.Context(), engine.ClaimRequest{Kind: kind, Max: 500, MaxPerLane: 500, Lease: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if len(res.Jobs) == 0 {
			return all
		}
		for _, j := range res.Jobs {
			key := j.Event.ID + "@" + j.Lane.Name
			if _, ok := all[key]; ok {
				t.Errorf("%s was moved twice", key)
			}
			if string(j.Event.Body) != event(j.Event.ID) {
				t.Errorf("the event has changed: %s", j.Event.Body)
			}
			all[key] = j
		}
	}
}

func check(t *testing.T, s *redistest.Server, e *redisengine.Engine, n int) {
	t.Helper()
	if got := claimAll(t, e, engine.FanOut); len(got) != n {
		t.Errorf("%d events wait to be fanned out, want %d", len(got), n)
	}
	deliveries := claimAll(t, e, engine.Deliver)
	if len(deliveries) != n+1 || deliveries["retry-now@http://subscriber.example/cb"].Attempt != 1 {
		t.Errorf("%d deliveries are due, want %d, one of them a retry", len(deliveries), n+1)
	}
	if got := claimAll(t, e, engine.Handle); len(got) != 2*n {
		t.Errorf("%d jobs wait to be handled, want %d", len(got), 2*n)
	}
	stats, err := e.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range stats {
		switch l.Lane.Kind {
		case engine.FanOut:
			if l.Waiting != 1 {
				t.Errorf("%d scheduled jobs wait, want 1", l.Waiting)
			}
		case engine.Deliver:
			if l.Waiting != 1 || l.Retrying != 1 || l.Dead != 1 {
				t.Errorf("want a job to be retried and a dead one: %+v", l)
			}
		}
	}
	dead, err := e.Dead(t.Context(), engine.DeadQuery{})
	if err != nil || len(dead) != 1 || dead[0].Event.ID != "dead" || dead[0].Attempt != 26 || !strings.Contains(dead[0].Reason, "status 500") {
		t.Errorf("the dead letters are %+v, %v", dead, err)
	}
	// The jobs of others are all there, in their order.
	for key, want := range map[string]int64{"queue:default": int64(n), "queue:mail": 3} {
		if got, _ := s.Try("LLEN", key).AsInt64(); got != want {
			t.Errorf("%d jobs are left in %s, want %d", got, key, want)
		}
	}
	left, _ := s.Try("LRANGE", "queue:default", "0", "-1").AsStrSlice()
	for i, text := range left {
		if text != fmt.Sprintf(foreign, n-1-i) {
			t.Errorf("job %d of somebody else's became %s", i, text)
		}
	}
	for key, want := range map[string]int64{"schedule": 1, "retry": 0, "dead": 1} {
		if got, _ := s.Try("ZCARD", key).AsInt64(); got != want {
			t.Errorf("%d jobs are left in %s, want %d", got, key, want)
		}
	}
}

func TestImport(t *testing.T) {
	t.Parallel()
	s, e := start(t)
	const n = 260 // more than two pages
	install(s, n)
	from := &sidekiq.Installation{Client: s.Client()}
	dry := options
	dry.DryRun = true
	would, err := from.Import(t.Context(), e, dry)
	if err != nil {
		t.Fatal(err)
	}
	if stats, _ := e.Lanes(t.Context()); len(stats) != 0 {
		t.Errorf("a dry run must move nothing: %v", stats)
	}
	counts, err := from.Import(t.Context(), e, options)
	if err != nil {
		t.Fatal(err)
	}
	if would != counts {
		t.Errorf("a dry run must count what is moved:\n%+v\n%+v", would, counts)
	}
	want := sidekiq.Counts{
		Waiting:   sidekiq.Count{FanOut: n, Deliver: n, Handle: n},
		Scheduled: sidekiq.Count{FanOut: 1},
		Retrying:  sidekiq.Count{Deliver: 2},
		Dead:      sidekiq.Count{Deliver: 1},
		Other:     n + 4, Unreadable: 1,
	}
	if counts != want {
		t.Errorf("moved\n%+v, want\n%+v", counts, want)
	}
	check(t, s, e, n)
}

// failing lets an import get as far as some Push, and fails then: before it took
// effect, or after it, as if the import had been killed before it could remove
// anything from Sidekiq.
type failing struct {
	engine.Engine
	left  int
	after bool
}

var errBroken = errors.New("broken")

func (f *failing) Push(ctx context.Context, req engine.PushRequest) (res engine.PushResult, err error) {
	if f.left--; f.left >= 0 || f.after {
		res, err = f.Engine.Push(ctx, req)
	}
	if f.left < 0 {
		return engine.PushResult{}, errBroken
	}
	return res, err
}

// TestImportInterruptedAnywhere: wherever an import ends, what it has stored by
// then is as it was in Sidekiq: dead, or due at its time with its tries counted.
// Once it is run again, everything is, and nothing twice.
func TestImportInterruptedAnywhere(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	for _, after := range []bool{false, true} {
		for writes := 0; ; writes++ {
			s.Do("FLUSHALL")
			e := open(t, s)
			const n = 260 // three pages, so that there are six writes
			install(s, n)
			from := &sidekiq.Installation{Client: s.Client()}
			_, err := from.Import(t.Context(), &failing{Engine: e, left: writes, after: after}, options)
			asInSidekiq(t, s, e)
			if err == nil {
				if writes < 6 {
					t.Errorf("there were only %d writes", writes)
				}
				check(t, s, e, n)
				break
			}
			if !errors.Is(err, errBroken) {
				t.Fatal(err)
			}
			if _, err := from.Import(t.Context(), e, options); err != nil {
				t.Fatal(err)
			}
			asInSidekiq(t, s, e)
			check(t, s, e, n)
			_ = e.Close()
		}
	}
}

// asInSidekiq makes sure that no job has a state which it had not in Sidekiq.
func asInSidekiq(t *testing.T, s *redistest.Server, e *redisengine.Engine) {
	t.Helper()
	lanes, err := e.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lanes {
		if l.Leased > 0 {
			t.Errorf("%d jobs are claimed in %v", l.Leased, l.Lane)
		}
	}
	left := map[string]int{}
	for _, set := range []string{"retry", "dead"} {
		texts, err := s.Try("ZRANGE", set, "0", "-1").AsStrSlice()
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range texts {
			if strings.Contains(text, "Toot::") {
				left[set]++
			}
		}
	}
	for _, l := range lanes {
		if l.Lane.Kind != engine.Deliver {
			continue
		}
		// What is in neither is lost; what is in both is recognised.
		if l.Retrying+left["retry"] < 2 || l.Retrying > 2 || l.Dead+left["dead"] < 1 || l.Dead > 1 {
			t.Errorf("of two jobs to be retried and a dead one there are %d and %d, and in Sidekiq %d and %d", l.Retrying, l.Dead, left["retry"], left["dead"])
		}
	}
}

// TestImportKeepsCountAndTime: a retry is due when it was in Sidekiq, not
// earlier, and knows how often it was tried.
func TestImportKeepsCountAndTime(t *testing.T) {
	t.Parallel()
	s, e := start(t)
	install(s, 1)
	from := &sidekiq.Installation{Client: s.Client()}
	if _, err := from.Import(t.Context(), e, options); err != nil {
		t.Fatal(err)
	}
	due := claimAll(t, e, engine.Deliver)
	if j, ok := due["retry-now@http://subscriber.example/cb"]; !ok || j.Attempt != 1 {
		t.Errorf("a retry that is due has the attempt %d (%t)", j.Attempt, ok)
	}
	for _, j := range due {
		if _, err := e.Settle(t.Context(), []engine.Outcome{{Ticket: j.Ticket, Result: engine.Done}}); err != nil {
			t.Fatal(err)
		}
	}
	res, err := e.Claim(t.Context(), engine.ClaimRequest{Kind: engine.Deliver, Max: 1, MaxPerLane: 1, Lease: time.Hour})
	if err != nil || len(res.Jobs) != 0 || res.Next < 25*time.Minute || res.Next > 30*time.Minute+time.Second {
		t.Errorf("the next retry is due in %v (%d jobs, %v), want half an hour", res.Next, len(res.Jobs), err)
	}
}

// TestImportOfEventsWithoutID: what a Ruby app received without a textual ID is
// moved under the ID of its job.
func TestImportOfEventsWithoutID(t *testing.T) {
	t.Parallel()
	s, e := start(t)
	s.Do("SADD", "queues", "default")
	bodies := map[string]string{}
	for jid, id := range map[string]string{"missing": ``, "null": `"id":null,`, "number": `"id":77,`, "empty": `"id":"",`, "other case": `"ID":"not this",`, "object": `"id":{},`} {
		bodies[jid] = fmt.Sprintf(`{%s"channel":%q,"payload":1}`, id, channel)
		s.Do("LPUSH", "queue:default", fmt.Sprintf(`{"class":"Toot::CallsHandlers","args":[%s],"jid":%q}`, bodies[jid], jid))
	}
	s.Do("LPUSH", "queue:default", fmt.Sprintf(`{"class":"Toot::CallsHandlers","args":[{"channel":%q}]}`, channel)) // without a jid, too
	s.Do("LPUSH", "queue:default", `{"class":"Toot::CallsHandlers","args":[{"id":"x","Channel":"y"}],"jid":"x"}`)
	from := &sidekiq.Installation{Client: s.Client()}
	counts, err := from.Import(t.Context(), e, options)
	if err != nil || counts.Waiting.Handle != len(bodies) || counts.Unreadable != 2 {
		t.Errorf("moved %+v, %v", counts, err)
	}
	res, err := e.Claim(t.Context(), engine.ClaimRequest{Kind: engine.Handle, Max: 100, MaxPerLane: 100, Lease: time.Hour, Only: []string{"one"}})
	if err != nil || len(res.Jobs) != len(bodies) {
		t.Fatalf("%d jobs, %v", len(res.Jobs), err)
	}
	for _, j := range res.Jobs {
		if want, ok := bodies[j.Event.ID]; !ok || string(j.Event.Body) != want {
			t.Errorf("event %q is %s, want %s", j.Event.ID, j.Event.Body, want)
		}
	}
}

// refusing is an engine that can't take an event.
type refusing struct{ engine.Engine }

func (r refusing) Push(ctx context.Context, req engine.PushRequest) (engine.PushResult, error) {
	for _, j := range req.Jobs {
		if j.Event.ID == "c3" || j.Event.ID == "retry" {
			return engine.PushResult{}, fmt.Errorf("%w: that event", engine.ErrInvalid)
		}
	}
	return r.Engine.Push(ctx, req)
}

// TestImportLeavesWhatCantBeStored: it holds up nothing else.
func TestImportLeavesWhatCantBeStored(t *testing.T) {
	t.Parallel()
	s, e := start(t)
	install(s, 10)
	from := &sidekiq.Installation{Client: s.Client()}
	counts, err := from.Import(t.Context(), refusing{e}, options)
	if err != nil || counts.Waiting != (sidekiq.Count{FanOut: 10, Deliver: 9, Handle: 10}) || counts.Retrying.Deliver != 1 || counts.Unreadable != 3 {
		t.Errorf("moved %+v, %v", counts, err)
	}
	if got, _ := s.Try("LLEN", "queue:default").AsInt64(); got != 11 {
		t.Errorf("%d jobs are left in the queue, want 11", got)
	}
	if got, _ := s.Try("ZCARD", "retry").AsInt64(); got != 1 {
		t.Errorf("%d jobs are left to be retried, want 1", got)
	}
}

// TestNamespaces: a Sidekiq behind redis-namespace is found where it is, and
// where it was not asked for.
func TestNamespaces(t *testing.T) {
	t.Parallel()
	s, e := start(t)
	s.Do("SADD", "queues", "default")
	s.Do("LPUSH", "queue:default", handled("plain"))
	s.Do("SADD", "my:app:queues", "default")
	s.Do("LPUSH", "my:app:queue:default", handled("h"), published("p", ""))
	s.Do("ZADD", "only-dead:dead", "1", called("dead", ""))
	s.Do("SADD", "others:queues", "default")
	s.Do("LPUSH", "others:queue:default", fmt.Sprintf(foreign, 1))
	s.Do("SET", "odd:retry", "no set")
	s.Do("SADD", "odd2:queues", "x")
	s.Do("SET", "odd2:queue:x", "no list")
	s.Do("SADD", "my:app:processes", "web-1:1:a")
	s.Do("HSET", "my:app:web-1:1:a", "busy", "0")

	for namespace, want := range map[string]string{
		"":         "map[my:app:2 only-dead:1]",
		"my:app":   "map[:1 only-dead:1]",
		"nobody's": "map[:1 my:app:2 only-dead:1]",
	} {
		from := &sidekiq.Installation{Client: s.Client(), Namespace: namespace}
		if got, err := from.Elsewhere(t.Context()); err != nil || fmt.Sprint(got) != want {
			t.Errorf("beside %q there are %v, %v, want %s", namespace, got, err, want)
		}
	}
	from := &sidekiq.Installation{Client: s.Client(), Namespace: "my:app"}
	if running, err := from.Running(t.Context()); err != nil || fmt.Sprint(running) != "[web-1:1:a]" {
		t.Errorf("running: %v, %v", running, err)
	}
	if size, err := from.Size(t.Context(), nil); err != nil || size != 2 {
		t.Errorf("size: %v, %v", size, err)
	}
	counts, err := from.Import(t.Context(), e, options)
	if err != nil || counts.Moved() != 2 {
		t.Errorf("moved %+v, %v", counts, err)
	}
	if left, _ := s.Try("LLEN", "my:app:queue:default").AsInt64(); left != 0 {
		t.Errorf("%d jobs are left", left)
	}
	if left, _ := s.Try("LLEN", "queue:default").AsInt64(); left != 1 {
		t.Errorf("%d jobs are left of another's", left)
	}
}
