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
func install(s *redistest.Server, n int) (now float64) {
	parts, _ := s.Try("TIME").AsStrSlice()
	now, _ = strconv.ParseFloat(parts[0], 64)
	s.Do("SADD", "queues", "default", "mail")
	at := func(d time.Duration) string { return strconv.FormatFloat(now+d.Seconds(), 'f', 3, 64) }
	for i := range n {
		s.Do("LPUSH", "queue:default", published(fmt.Sprintf("p%d", i), ""), fmt.Sprintf(foreign, i), called(fmt.Sprintf("c%d", i), ""), handled(fmt.Sprintf("h%d", i)))
	}
	s.Do("LPUSH", "queue:mail", fmt.Sprintf(foreign, -1), `{"class":"Toot::PublishesEvent","args":[]}`, "no JSON of Toot::")
	s.Do("ZADD", "schedule", at(time.Hour), published("scheduled", ""), at(time.Hour), fmt.Sprintf(foreign, -2))
	s.Do("ZADD", "retry", at(30*time.Minute), called("retry", `,"retry_count":3,"error_class":"Toot::Failure","error_message":"500"`), at(-time.Minute), called("retry-now", `,"retry_count":0`))
	s.Do("ZADD", "dead", at(-time.Hour), called("dead", `,"retry_count":25,"error_class":"Toot::Failure","error_message":"status 500"`), at(0), fmt.Sprintf(foreign, -3))
	return now
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
	e, err := redisengine.Open(t.Context(), s.URL(), &redisengine.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return s, e
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
	const n = 700 // more than a page
	install(s, n)
	client := s.Client()
	dry := options
	dry.DryRun = true
	would, err := sidekiq.Import(t.Context(), client, e, dry)
	if err != nil {
		t.Fatal(err)
	}
	if stats, _ := e.Lanes(t.Context()); len(stats) != 0 {
		t.Errorf("a dry run must move nothing: %v", stats)
	}
	counts, err := sidekiq.Import(t.Context(), client, e, options)
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

// failing fails at each call in turn: before or after it took effect.
type failing struct {
	engine.Engine
	calls, at int
	after     bool
}

var errBroken = errors.New("broken")

func (f *failing) Push(ctx context.Context, req engine.PushRequest) (engine.PushResult, error) {
	f.calls++
	if f.calls == f.at && !f.after {
		return engine.PushResult{}, errBroken
	}
	res, err := f.Engine.Push(ctx, req)
	if f.calls == f.at && req.Jobs[0].Lease == 0 {
		return engine.PushResult{}, errBroken
	}
	return res, err
}

func TestImportInterruptedAndRunAgain(t *testing.T) {
	t.Parallel()
	s, e := start(t)
	const n = 600
	install(s, n)
	client := s.Client()
	broken := 0
	for at := 1; ; at++ {
		_, err := sidekiq.Import(t.Context(), client, &failing{Engine: e, at: 1 + at%2, after: at%3 == 0}, options)
		if err == nil {
			break
		}
		if !errors.Is(err, errBroken) {
			t.Fatal(err)
		}
		if broken++; broken == 20 {
			if _, err := sidekiq.Import(t.Context(), client, e, options); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	if broken == 0 {
		t.Error("nothing was interrupted")
	}
	check(t, s, e, n)
}
