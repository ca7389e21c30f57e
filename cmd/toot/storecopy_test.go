package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/anyengine"
	"github.com/watermarkchurch/toot-go/internal/testing/pages"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

// receiver is an endpoint that counts what it gets, and refuses it at first if it is
// to.
type receiver struct {
	*httptest.Server

	mu      sync.Mutex
	got     map[string]int // by event
	refuses bool
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{got: map[string]int{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		var event struct{ ID string }
		if err != nil || json.Unmarshal(body, &event) != nil {
			t.Errorf("the endpoint got %q (%v)", body, err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.refuses {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		r.got[event.ID]++
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) refuse(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuses = on
}

// wants waits until all events have arrived, and makes sure that each did once.
func (r *receiver) wants(t *testing.T, ids []string) {
	t.Helper()
	missing := func() (missing []string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, id := range ids {
			if r.got[id] == 0 {
				missing = append(missing, id)
			}
		}
		return missing
	}
	eventually(t, "every event arrives", func() bool { return len(missing()) == 0 })
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, n := range r.got {
		if n != 1 || !slices.Contains(ids, id) {
			t.Errorf("%s arrived %d times", id, n)
		}
	}
}

// shopOn opens an app of the prefix org.example.shop. on a store.
func shopOn(t *testing.T, name string, o *anyengine.Options) (*toot.App, anyengine.Store) {
	t.Helper()
	s, err := anyengine.Open(t.Context(), name, o)
	if err != nil {
		t.Fatal(err)
	}
	app, err := toot.New(s, &toot.Options{ChannelPrefix: "org.example.shop.",
		MaxRetries: 1_000_000, RetryDelay: func(int) time.Duration { return 300 * time.Millisecond }, ProbeInterval: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	return app, s
}

// runs has an app work until stop is called, which closes it, too.
func runs(t *testing.T, app *toot.App, s anyengine.Store) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		for what, err := range map[string]error{"Run": <-ended, "closing the app": app.Close(), "closing the store": s.Close()} {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
	t.Cleanup(stop)
	return stop
}

func publishOrders(t *testing.T, app *toot.App, n int) (ids []string) {
	t.Helper()
	for i := range n {
		e, err := app.Publish(t.Context(), "orders", i)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.ID)
	}
	return ids
}

// TestMovingWithoutAStop runs the commands of the page while apps are at work: one on
// the old store, and from the second command on one on the new store, too. Every event
// arrives everywhere once.
func TestMovingWithoutAStop(t *testing.T) {
	t.Parallel()
	dir, redis := t.TempDir(), redistest.Start(t).URL()
	lines := strings.Split(strings.TrimSpace(pages.Named(t, "docs/operating.md", "move a store")), "\n")
	if len(lines) != 3 {
		t.Fatalf("the page has %d commands", len(lines))
	}
	page := func(n int) map[string]any {
		t.Helper()
		line := strings.NewReplacer("redis://localhost", redis, "'", "").Replace(strings.TrimPrefix(lines[n], "toot ")) + " --json"
		line = strings.ReplaceAll(line, "sqlite:shop.db", "sqlite:"+filepath.Join(dir, "shop.db"))
		r := command(t, strings.Fields(line)...)
		wantCode(t, r, 0)
		return objects(t, r.stdout)[0]
	}
	well, ill := newReceiver(t), newReceiver(t)
	ill.refuse(true)
	old, oldStore := shopOn(t, "sqlite:"+filepath.Join(dir, "shop.db"), nil)
	stopOld := runs(t, old, oldStore)
	for _, r := range []*receiver{well, ill} {
		w := httptest.NewRecorder()
		body := fmt.Sprintf(`{"callback_url":%q,"channel":"org.example.shop.orders"}`, r.URL+"/cb")
		old.SubscriptionsService().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)))
		if w.Code != http.StatusCreated {
			t.Fatalf("subscribing was answered with %d", w.Code)
		}
	}
	ids := publishOrders(t, old, 20)
	if seen := page(0); seen["subscribers"].(map[string]any)["copied"] != 2.0 {
		t.Errorf("the dry run sees %v", seen)
	}
	if copied := page(1); copied["subscribers"].(map[string]any)["copied"] != 2.0 || copied["moved"] != 0.0 {
		t.Errorf("at first this was copied: %v", copied)
	}
	app, store := shopOn(t, redis+"?namespace=shop", nil)
	runs(t, app, store)
	ids = append(ids, publishOrders(t, app, 20)...)
	ids = append(ids, publishOrders(t, old, 20)...)
	well.wants(t, ids)
	stopOld()
	if rest := page(2); rest["moved"] != 40.0 || rest["doubled"] != 0.0 || rest["subscribers"].(map[string]any)["known"] != 2.0 {
		t.Errorf("what is moved is not what waits for one endpoint: %v", rest)
	}
	ill.refuse(false)
	ill.wants(t, ids)
	well.wants(t, ids)
	if left := page(2); left["moved"] != 0.0 {
		t.Errorf("something was left: %v", left)
	}
}

// TestCopyingIsKilled: killed while it moves jobs, and run again, the command loses and
// doubles nothing.
func TestCopyingIsKilled(t *testing.T) {
	t.Parallel()
	from, to := "sqlite:"+filepath.Join(t.TempDir(), "shop.db"), redistest.Start(t).URL()
	app, s := shopOn(t, from, nil)
	r := newReceiver(t)
	if _, err := s.AddSubscriber(t.Context(), "org.example.shop.orders", r.URL, 0); err != nil {
		t.Fatal(err)
	}
	ids := publishOrders(t, app, 1500)
	if err := app.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	app, s = shopOn(t, to, nil)
	waiting := func() (n int) {
		lanes, err := s.Lanes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range lanes {
			n += l.Waiting
		}
		return n
	}
	args := []string{"store", "copy", from, to, "--channel-prefix", "org.example.shop."}
	for _, n := range []int{1, 400, 900} {
		p := start(t, "", args...)
		eventually(t, "some more jobs are moved", func() bool {
			select {
			case <-p.ended:
				return true
			default:
				return waiting() >= n
			}
		})
		p.signal(os.Kill)
		p.wait()
	}
	last := command(t, append(args, "--json")...)
	wantCode(t, last, 0)
	if n := waiting(); n != len(ids) {
		t.Errorf("%d jobs are there, of %d", n, len(ids))
	}
	if again := objects(t, command(t, append(args, "--json")...).stdout)[0]; again["moved"] != 0.0 {
		t.Errorf("something was left: %v", again)
	}
	runs(t, app, s)
	r.wants(t, ids)
}

// TestJobsOfOthersAreLeft: what a process works on stays, and that is said; who is
// waiting for it can stop that.
func TestJobsOfOthersAreLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	from, to := "sqlite:"+filepath.Join(dir, "a.db"), "sqlite:"+filepath.Join(dir, "b.db")
	opts := &anyengine.Options{Retention: engine.Retention{Dedupe: 3 * time.Hour, DeadMax: 50_000, DeadAge: time.Hour}}
	_, s := shopOn(t, from, opts)
	defer func() { _ = s.Close() }()
	lane := engine.Lane{Kind: engine.Handle, Name: "orders"}
	event := func(id string) *engine.Event { return &engine.Event{ID: id, Channel: "c", Body: []byte("{}")} }
	res, err := s.Push(t.Context(), engine.PushRequest{Jobs: []engine.Job{
		{Event: event("held"), Lane: lane, Lease: time.Hour}, {Event: event("waits"), Lane: lane},
		{Event: event("later"), Lane: engine.Lane{Kind: engine.Deliver, Name: "http://user:secret@h/cb"}, Delay: time.Hour},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Claim(t.Context(), engine.ClaimRequest{Kind: engine.FanOut, Max: 1, MaxPerLane: 1, Lease: time.Minute}); err != nil { // as an app does
		t.Fatal(err)
	}
	dry := command(t, "store", "copy", from, to, "--dry-run")
	wantCode(t, dry, 0)
	wantContains(t, dry.stdout, "jobs to move", "due later", "1 job more that a process is working on")
	if _, err := os.Stat(filepath.Join(dir, "b.db")); err == nil {
		t.Error("the dry run made a file")
	}

	p := start(t, "", "store", "copy", from, to, "--wait", "10h")
	_, there := shopOn(t, to, nil)
	defer func() { _ = there.Close() }()
	eventually(t, "what is free is moved", func() bool {
		lanes, err := there.Lanes(t.Context())
		return err == nil && len(lanes) == 2
	})
	p.signal(os.Interrupt)
	r := p.wait()
	wantCode(t, r, 130)
	wantContains(t, r.stderr, "Stopped after 2 jobs: run it again to go on")

	r = command(t, "store", "copy", from, to, "--wait", "0s")
	wantCode(t, r, 1)
	wantContains(t, r.stderr, "1 job left in FROM, of which 1 being worked on", "run it again")
	kept, err := there.Retention(t.Context())
	if want := (engine.Retention{Dedupe: 3 * time.Hour, DeadAge: engine.DefaultDeadAge, DeadMax: 50_000}); err != nil || kept != want {
		t.Errorf("the second store remembers for %+v, %v, want %+v", kept, err, want)
	}
	back := command(t, "store", "copy", to, from)
	wantCode(t, back, 1)
	wantContains(t, back.stderr, "jobs were moved out of the second store", "--without-jobs")

	if _, err := s.Settle(t.Context(), []engine.Outcome{{Ticket: res.Tickets[0], Result: engine.Done}}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, command(t, "store", "copy", from, to), 0)
}

func TestStoreCopyRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "a.db")
	_, s := shopOn(t, file, nil)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, filepath.Join(dir, "link.db")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{nil, 2, "takes the arguments FROM TO"},
		{[]string{file}, 2, "takes the arguments FROM TO"},
		{[]string{file, file}, 2, "the same store"},
		{[]string{file, filepath.Join(dir, "link.db")}, 2, "the same store"},
		{[]string{filepath.Join(dir, "none.db"), file}, 1, "FROM: there is no store at"},
		{[]string{file, "redis://u:s3cr3t@127.0.0.1:1"}, 2, "--channel-prefix"},
		{[]string{"rediss://u:s3cr3t@127.0.0.1:1", file}, 2, "--channel-prefix"},
		{[]string{file, "redis://u:s3cr3t@127.0.0.1:1", "--channel-prefix", ""}, 1, "TO: "},
		{[]string{file, "mysql://u:s3cr3t@h/d"}, 2, "TO: not the name of a store"},
	} {
		r := command(t, append([]string{"store", "copy"}, c.args...)...)
		wantCode(t, r, c.code)
		wantContains(t, r.stderr, c.want)
		if strings.Contains(r.stdout+r.stderr, "s3cr3t") {
			t.Errorf("%v shows the password: %s%s", c.args, r.stdout, r.stderr)
		}
	}
}
