package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine/anyengine"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

const rubyPrefix = "org.example.publisher."

// rubyInstallation is a Redis as a Ruby app and its Sidekiq leave it.
type rubyInstallation struct {
	*redistest.Server
	t        *testing.T
	callback string // a subscriber's URL
}

// rubyEvent is what the gem puts into its jobs.
func rubyEvent(id string) string {
	return fmt.Sprintf(`{"id":%q,"timestamp":"2026-11-23 09:11:13 UTC","payload":{"id":12345678901234567890,"name":"Zo\u00eb"},"channel":"%susers.updated.v1"}`, id, rubyPrefix)
}

// rubyJob is a job as Sidekiq stores it. more are fields of a job that failed.
func rubyJob(class, args, more string) string {
	return fmt.Sprintf(`{"retry":true,"queue":"default","args":[%s],"class":%q,"jid":"%024x","created_at":1795425073.73,"enqueued_at":1795425073.7312%s}`,
		args, class, time.Now().UnixNano(), more)
}

func rubyFailure(tries int, message string) string {
	return fmt.Sprintf(`,"error_message":%q,"error_class":"Toot::CallbackFailure","failed_at":1795425083.1,"retry_count":%d,"retried_at":1795425199.2`, message, tries-1)
}

func (r *rubyInstallation) publish(id string) string {
	return rubyJob("Toot::PublishesEvent", rubyEvent(id), "")
}

func (r *rubyInstallation) call(id, more string) string {
	return rubyJob("Toot::CallsEventCallback", fmt.Sprintf("%q,%s", r.callback, rubyEvent(id)), more)
}

func (r *rubyInstallation) handle(id string) string {
	return rubyJob("Toot::CallsHandlers", rubyEvent(id), "")
}

// others are jobs that the gem has nothing to do with.
func others(n int) (jobs []string) {
	for i := range n {
		jobs = append(jobs, rubyJob("ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper", fmt.Sprintf(`{"job_class":"SendsMail","arguments":[%d]}`, i), `,"wrapped":"SendsMail"`))
	}
	return jobs
}

// at is a score that many seconds from now.
func at(seconds int) string {
	return fmt.Sprintf("%.4f", float64(time.Now().UnixMilli())/1000+float64(seconds))
}

// do sends many commands over one connection.
func (r *rubyInstallation) do(commands ...[]string) {
	r.t.Helper()
	client := r.Client()
	for _, c := range commands {
		if err := client.Do(r.t.Context(), client.B().Arbitrary(c...).Build()).Error(); err != nil {
			r.t.Fatal(err)
		}
	}
}

func newRubyInstallation(t *testing.T, callback string) *rubyInstallation {
	r := &rubyInstallation{redistest.Start(t), t, callback}
	other := others(6)
	r.do(
		[]string{"SADD", rubyPrefix + "users.updated.v1", callback},
		[]string{"HSET", rubyPrefix + "toot.auth.credentials_store", "subscriber", strings.Repeat("\xfe", 32)},
		[]string{"SADD", "queues", "default", "mailers"},
		[]string{"SET", "stat:processed", "77"},
		[]string{"LPUSH", "queue:mailers", other[0], other[1]},
		[]string{"LPUSH", "queue:default", other[2], other[3]},
		[]string{"ZADD", "schedule", at(600), other[4]},
		[]string{"ZADD", "dead", at(-600), other[5]},
	)
	return r
}

// rest is everything that toot has no business with.
func (r *rubyInstallation) rest() string {
	r.t.Helper()
	var b strings.Builder
	client := r.Client()
	for _, c := range []string{
		"LRANGE queue:default 0 -1", "LRANGE queue:mailers 0 -1", "ZRANGE schedule 0 -1 WITHSCORES", "ZRANGE retry 0 -1 WITHSCORES", "ZRANGE dead 0 -1 WITHSCORES",
		"SMEMBERS queues", "GET stat:processed", "SMEMBERS " + rubyPrefix + "users.updated.v1", "HGETALL " + rubyPrefix + "toot.auth.credentials_store",
	} {
		answer := client.Do(r.t.Context(), client.B().Arbitrary(strings.Fields(c)...).Build())
		fmt.Fprintf(&b, "%s: %s\n", c, answer.String())
	}
	return b.String()
}

// waiting is how many jobs Sidekiq has.
func (r *rubyInstallation) waiting() int {
	n := 0
	for _, c := range [][]string{{"LLEN", "queue:default"}, {"LLEN", "queue:mailers"}, {"ZCARD", "schedule"}, {"ZCARD", "retry"}, {"ZCARD", "dead"}} {
		m, err := r.Try(c...).AsInt64()
		if err != nil {
			r.t.Fatal(err)
		}
		n += int(m)
	}
	return n
}

// tally counts how often each event came.
type tally struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *tally) add(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[string]int{}
	}
	c.n[id]++
}

func (c *tally) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.n)
}

func (c *tally) get(id string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[id]
}

// ServeHTTP is a subscriber's endpoint.
func (c *tally) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var e struct{ ID string }
	body, _ := io.ReadAll(r.Body)
	if json.Unmarshal(body, &e) == nil {
		c.add(e.ID)
	}
}

// goApp is the app that takes over: it delivers and handles what was moved.
func goApp(t *testing.T, store string, handled *tally) {
	t.Helper()
	e, err := anyengine.Open(t.Context(), store, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	app, err := toot.New(e, &toot.Options{ChannelPrefix: rubyPrefix, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := app.AddSource("publisher", toot.Source{SubscriptionURL: "http://localhost/subscriptions", ChannelPrefix: rubyPrefix}); err != nil {
		t.Fatal(err)
	}
	err = app.Subscribe("publisher", "users.updated.v1", toot.HandlerFunc(func(_ context.Context, e *toot.Event) error {
		if n := fmt.Sprint(e.Get("id")); n != "12345678901234567890" || e.Get("name") != "Zoë" || e.Timestamp.IsZero() {
			t.Errorf("event %s became %s at %v", e.ID, e.Payload, e.Timestamp)
		}
		handled.add(e.ID)
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- app.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = app.Close()
	})
}

func TestImportSidekiq(t *testing.T) {
	t.Parallel()
	var delivered, handled tally
	endpoint := httptest.NewServer(&delivered)
	defer endpoint.Close()
	r := newRubyInstallation(t, endpoint.URL+"/callbacks")
	untouched := r.rest()
	r.do(
		[]string{"RPUSH", "queue:default", r.publish("published"), r.call("called", ""), r.handle("handled")},
		[]string{"ZADD", "schedule", at(3600), r.publish("scheduled")},
		[]string{"ZADD", "retry", at(1800), r.call("later", rubyFailure(4, "status 500")), at(-5), r.call("retried", rubyFailure(1, "status 502"))},
		[]string{"ZADD", "dead", at(-86400), r.call("dead", rubyFailure(26, "status 404"))},
		// A process that runs, and one that was killed long ago.
		[]string{"SADD", "processes", "web-1:4711:5f0e1c2a3b4d", "web-0:17:000000000000"},
		[]string{"HSET", "web-1:4711:5f0e1c2a3b4d", "info", `{"hostname":"web-1","pid":4711}`, "busy", "0", "beat", at(0), "quiet", "false"},
	)
	all := r.rest()
	keys := func() int64 {
		n, _ := r.Try("DBSIZE").AsInt64()
		return n
	}
	before := keys()

	res := command(t, "import-sidekiq", "--redis", r.URL())
	wantCode(t, res, 1)
	wantContains(t, res.stderr, "1 Sidekiq process is running (web-1:4711:5f0e1c2a3b4d)", "--force")
	if strings.Count(res.stderr, "\n") != 1 {
		t.Errorf("it wants one line to say it:\n%s", res.stderr)
	}

	res = command(t, "import-sidekiq", "--redis", r.URL(), "--dry-run")
	wantCode(t, res, 0)
	wantContains(t, res.stdout, "Would move 7 jobs to redis://", "scheduled             1 ", "Left in Sidekiq: 6 of other gems and apps")
	if after := r.rest(); after != all || keys() != before {
		t.Errorf("a dry run must change nothing:\n%s\nwas\n%s", after, all)
	}

	r.do([]string{"DEL", "web-1:4711:5f0e1c2a3b4d"})
	res = command(t, "import-sidekiq", "--redis", r.URL(), "--json")
	wantCode(t, res, 0)
	var got struct {
		Moved         int
		Jobs          map[string]map[string]int
		Subscriptions map[string]string
		Left          map[string]int
	}
	if err := json.Unmarshal([]byte(res.stdout), &got); err != nil {
		t.Fatalf("%v: %s", err, res.stdout)
	}
	if got.Moved != 7 || got.Jobs["retrying"]["deliver"] != 2 || got.Jobs["dead"]["deliver"] != 1 || got.Left["other"] != 6 ||
		got.Subscriptions[rubyPrefix+"users.updated.v1"] != rubyPrefix+"users.updated.v1" {
		t.Errorf("got %s", res.stdout)
	}
	if left := r.rest(); left != untouched {
		t.Errorf("what is not toot's has changed:\n%s\nwas\n%s", left, untouched)
	}
	res = command(t, "import-sidekiq", "--redis", r.URL())
	wantCode(t, res, 0)
	wantContains(t, res.stdout, "No job to move", "Left in Sidekiq: 6 of other gems and apps")

	goApp(t, r.URL(), &handled)
	eventually(t, "what was due is delivered and handled", func() bool { return delivered.size() == 3 && handled.size() == 1 })
	for _, id := range []string{"published", "called", "retried"} {
		if delivered.get(id) != 1 {
			t.Errorf("%s was delivered %d times", id, delivered.get(id))
		}
	}
	if handled.get("handled") != 1 {
		t.Errorf("handled: %v", handled.n)
	}
	res = command(t, "dead", "list", "--store", r.URL())
	wantContains(t, res.stdout, "dead in Sidekiq: Toot::CallbackFailure: status 404\n")
	res = command(t, "stats", "--store", r.URL(), "--json")
	wantContains(t, res.stdout, `"waiting":2,`, `"retrying":1,`, `"dead":1,`)
}

// TestImportSidekiqKilled: a kill at any moment loses nothing and doubles
// nothing, once it is run again. What is dead stays dead at every moment.
func TestImportSidekiqKilled(t *testing.T) {
	t.Parallel()
	var delivered, handled tally
	endpoint := httptest.NewServer(&delivered)
	defer endpoint.Close()
	r := newRubyInstallation(t, endpoint.URL+"/callbacks")
	untouched := r.rest()
	const n = 600 // so many that a kill finds it in the midst of them
	var commands [][]string
	for i := range n {
		id := fmt.Sprintf("%d", i)
		commands = append(commands,
			[]string{"RPUSH", "queue:default", r.call("c"+id, ""), r.handle("h" + id)},
			[]string{"ZADD", "retry", at(3600), r.call("r"+id, rubyFailure(2, "status 500"))},
		)
		if i%3 == 0 {
			commands = append(commands, []string{"ZADD", "dead", at(-3600), r.call("d"+id, rubyFailure(26, "status 500"))})
		}
	}
	r.do(commands...)
	all, kills := r.waiting(), 0
	for part := 9; part > 0; part -= 2 {
		p := start(t, "", "import-sidekiq", "--redis", r.URL())
		eventually(t, "some jobs are moved", func() bool { return r.waiting() < all*part/10 })
		p.signal(syscall.SIGKILL)
		p.wait()
		if r.waiting() > 6 {
			kills++
		}
	}
	if kills == 0 {
		t.Error("nothing was interrupted")
	}
	res := command(t, "import-sidekiq", "--redis", r.URL())
	wantCode(t, res, 0)
	if left := r.rest(); left != untouched {
		t.Errorf("what is not toot's has changed:\n%.2000s\nwas\n%s", left, untouched)
	}
	var stats struct {
		Waiting, Retrying, Dead int
		InFlight                int `json:"in_flight"`
	}
	res = command(t, "stats", "--store", r.URL(), "--json")
	if err := json.Unmarshal([]byte(res.stdout), &stats); err != nil {
		t.Fatal(err)
	}
	if stats.Waiting != 3*n || stats.Retrying != n || stats.InFlight != 0 || stats.Dead != n/3 {
		t.Errorf("moved %+v, want %d jobs, %d of them to be retried, and %d dead ones", stats, 3*n, n, n/3)
	}
	goApp(t, r.URL(), &handled)
	eventually(t, "what was due is delivered and handled", func() bool { return delivered.size() >= n && handled.size() >= n })
	for i := range n {
		if c, h := delivered.get(fmt.Sprintf("c%d", i)), handled.get(fmt.Sprintf("h%d", i)); c != 1 || h != 1 {
			t.Fatalf("event %d was delivered %d times and handled %d times", i, c, h)
		}
	}
	if delivered.size() != n {
		t.Errorf("%d events were delivered, want %d: others than those that were due", delivered.size(), n)
	}
	t.Logf("%d jobs moved in spite of %d kills, each once", 3*n+n/3, kills)
}

// TestImportSidekiqBehindRedisNamespace: the Ruby app puts "myapp:" before every
// key. That is found, and named, where it was not asked for.
func TestImportSidekiqBehindRedisNamespace(t *testing.T) {
	t.Parallel()
	var delivered, handled tally
	endpoint := httptest.NewServer(&delivered)
	defer endpoint.Close()
	r := &rubyInstallation{redistest.Start(t), t, endpoint.URL + "/callbacks"}
	channel := rubyPrefix + "users.updated.v1"
	r.do(
		[]string{"SADD", "myapp:" + channel, r.callback},
		[]string{"SADD", "myapp:queues", "default"},
		[]string{"LPUSH", "myapp:queue:default", r.publish("published"), r.call("called", ""), r.handle("handled")},
		[]string{"ZADD", "myapp:dead", at(-3600), r.call("dead", rubyFailure(26, "status 500"))},
	)
	for _, namespace := range []string{"", "yourapp"} {
		res := command(t, "import-sidekiq", "--redis", r.URL(), "--redis-namespace", namespace)
		wantCode(t, res, 1)
		wantContains(t, res.stderr, "4 jobs (give --redis-namespace myapp)")
	}
	res := command(t, "import-sidekiq", "--redis", r.URL()+"?namespace=shop", "--redis-namespace", "myapp", "--dry-run", "--json")
	wantCode(t, res, 0)
	wantContains(t, res.stdout, `"moved":4`, "?namespace=shop")
	r.do([]string{"SADD", "queues", "default"}, []string{"LPUSH", "queue:default", r.handle("elsewhere")})
	res = command(t, "import-sidekiq", "--redis", r.URL()+"?namespace=shop&redis_namespace=myapp")
	wantCode(t, res, 0)
	wantContains(t, res.stdout, "Moved 4 jobs to redis://"+r.Addr()+"?namespace=shop&redis_namespace=myapp\n")
	wantContains(t, res.stderr, "1 job (leave out --redis-namespace)")

	goApp(t, r.URL()+"?namespace=shop&redis_namespace=myapp", &handled)
	eventually(t, "what was due is delivered and handled", func() bool { return delivered.size() == 2 && handled.size() == 1 })
}

func TestImportSidekiqToAnotherStore(t *testing.T) {
	t.Parallel()
	r := newRubyInstallation(t, "http://subscriber.example/callbacks")
	r.do([]string{"RPUSH", "queue:default", r.handle("one"), r.call("two", "")})
	channel := rubyPrefix + "users.updated.v1"

	res := command(t, "import-sidekiq", "--redis", r.URL(), "--subscription", channel+"=")
	wantCode(t, res, 0)
	wantContains(t, res.stdout, "Moved 1 job to", "Left in Sidekiq: 6 of other gems and apps, 1 without a subscription")

	res = command(t, "import-sidekiq", "--redis", r.URL()+"/0?namespace=shop", "--subscription", channel+"=mirror", "--queue", "default")
	wantCode(t, res, 0)
	wantContains(t, res.stdout, "Moved 1 job to", "mirror")
	res = command(t, "stats", "--store", r.URL()+"?namespace=shop", "--json")
	wantContains(t, res.stdout, `"lane":"mirror","waiting":1`)

	for _, args := range [][]string{
		{"import-sidekiq"}, {"import-sidekiq", "--redis", "localhost"}, {"import-sidekiq", "--redis", r.URL(), "--subscription", "mirror"},
	} {
		res := command(t, args...)
		wantCode(t, res, 2)
		if strings.Count(res.stderr, "\n") != 1 {
			t.Errorf("%v says %q, want one line", args, res.stderr)
		}
	}
	res = command(t, "import-sidekiq", "--redis", r.URL(), "--store", "sqlite:missing.db")
	wantCode(t, res, 1)
	wantContains(t, res.stderr, "there is no store at missing.db")
	res = command(t, "import-sidekiq", "--redis", "redis://user:secret@127.0.0.1:1")
	wantCode(t, res, 1)
	wantContains(t, res.stderr, "127.0.0.1:1")
	if strings.Contains(res.stderr, "secret") {
		t.Errorf("the password is told: %s", res.stderr)
	}
}
