package redisengine_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine/redisengine"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
	"github.com/watermarkchurch/toot-go/internal/testing/subprocess"
)

// long tells whether the tests take their time.
var long = os.Getenv("TOOT_TEST_LONG") != ""

const (
	appPrefix  = "org.example.publisher."
	appChannel = "users.updated.v1"
	// workerURL and workerLog make the test's binary a worker.
	workerURL, workerLog = "TOOT_TEST_WORKER_URL", "TOOT_TEST_WORKER_LOG"
	// workerTakes is how long its handlers take, and workerLease how long a
	// job is its own.
	workerTakes, workerLease = "TOOT_TEST_WORKER_TAKES", "TOOT_TEST_WORKER_LEASE"
)

// shortLease is the shortest that apps have.
const shortLease = 2 * time.Second

func appOptions(lease time.Duration) *toot.Options {
	return &toot.Options{
		ChannelPrefix: appPrefix, RequestTimeout: lease / 2, ProbeInterval: 2 * time.Second,
		RetryDelay: func(int) time.Duration { return 200 * time.Millisecond },
		Logger:     quiet,
	}
}

// work is the life of a worker process: it delivers what the publishers
// publish, and handles what arrives. Handled IDs go to a file.
func work(url, file string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	handled, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	takes, err := time.ParseDuration(os.Getenv(workerTakes))
	if err != nil {
		return err
	}
	lease, err := time.ParseDuration(os.Getenv(workerLease))
	if err != nil {
		return err
	}
	o := appOptions(lease)
	o.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	var running sync.WaitGroup
	for _, namespace := range []string{"publisher", "subscriber"} {
		e, err := redisengine.Open(ctx, url, &redisengine.Options{Namespace: namespace, Logger: o.Logger})
		if err != nil {
			return err
		}
		defer func() { _ = e.Close() }()
		app, err := toot.New(e, o)
		if err != nil {
			return err
		}
		if namespace == "subscriber" {
			if err := app.AddSource("publisher", toot.Source{SubscriptionURL: "http://localhost", ChannelPrefix: appPrefix}); err != nil {
				return err
			}
			err := app.AddSubscription(toot.Subscription{Source: "publisher", Channel: appChannel, Handler: toot.HandlerFunc(func(_ context.Context, e *toot.Event) error {
				time.Sleep(takes)
				_, err := fmt.Fprintf(handled, "%s %s try %d\n", e.ID, time.Now().Format("04:05.000"), e.Attempt) // one write: whole lines, whoever dies
				return err
			})})
			if err != nil {
				return err
			}
		}
		running.Go(func() {
			if err := app.Run(ctx); err != nil {
				o.Logger.Error(err.Error())
			}
		})
	}
	fmt.Println("works")
	running.Wait()
	return nil
}

// system is a publishing app and a subscribing one on one Redis: of the former
// there are two processes that publish, of the latter one that takes callbacks,
// and some that work for both.
type system struct {
	t          *testing.T
	url        string
	dir        string
	takes      time.Duration // a handler
	lease      time.Duration
	publishers []*toot.App
	callbacks  *httptest.Server
	workers    []*worker

	gate sync.RWMutex // held for reading while something is published or called back

	mu        sync.Mutex
	published []string // acknowledged
	errs      map[string]int
}

func newSystem(t *testing.T, url string, workers int, takes, lease time.Duration) *system {
	t.Helper()
	s := &system{t: t, url: url, dir: t.TempDir(), takes: takes, lease: lease, errs: map[string]int{}}
	for range 2 {
		s.publishers = append(s.publishers, newApp(t, open(t, url, &redisengine.Options{Namespace: "publisher"}), lease))
	}
	subscriber := newApp(t, open(t, url, &redisengine.Options{Namespace: "subscriber"}), lease)
	if err := subscriber.AddSource("publisher", toot.Source{SubscriptionURL: "http://localhost", ChannelPrefix: appPrefix}); err != nil {
		t.Fatal(err)
	}
	if err := subscriber.Subscribe("publisher", appChannel, toot.HandlerFunc(func(context.Context, *toot.Event) error { return nil })); err != nil {
		t.Fatal(err)
	}
	service := subscriber.HandlerService()
	s.callbacks = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.gate.RLock()
		defer s.gate.RUnlock()
		service.ServeHTTP(w, r)
	}))
	t.Cleanup(s.callbacks.Close)
	s.subscribe(s.callbacks.URL)
	for range workers {
		s.startWorker()
	}
	return s
}

func newApp(t *testing.T, e *redisengine.Engine, lease time.Duration) *toot.App {
	t.Helper()
	app, err := toot.New(e, appOptions(lease))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = app.Close() })
	return app
}

func (s *system) subscribe(callbackURL string) {
	s.t.Helper()
	body := fmt.Sprintf(`{"callback_url":%q,"channel":%q}`, callbackURL, appPrefix+appChannel)
	w := httptest.NewRecorder()
	s.publishers[0].SubscriptionsService().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)))
	if w.Code != http.StatusCreated {
		s.t.Fatalf("subscribing was answered with %d", w.Code)
	}
}

type worker struct {
	cmd  *exec.Cmd
	gone chan struct{}
	once sync.Once
}

// startWorker starts a process and waits until it works.
func (s *system) startWorker() *worker {
	s.t.Helper()
	w := &worker{cmd: exec.Command(os.Args[0]), gone: make(chan struct{})}
	w.cmd.Env = append(os.Environ(), workerURL+"="+s.url, fmt.Sprintf("%s=%s/%d", workerLog, s.dir, len(s.workers)), workerTakes+"="+s.takes.String(), workerLease+"="+s.lease.String())
	subprocess.DieWithParent(w.cmd)
	var stderr strings.Builder
	w.cmd.Stderr = &stderr
	stdout, err := w.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.workers = append(s.workers, w)
	s.t.Cleanup(func() {
		w.end(syscall.SIGKILL)
		if s.t.Failed() {
			text := stderr.String()
			s.t.Logf("a worker said:\n%s", text[max(0, len(text)-3000):])
		}
	})
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() || lines.Text() != "works" {
		s.t.Errorf("a worker did not start: %s", lines.Text())
	}
	go func() {
		for lines.Scan() {
		}
		_ = w.cmd.Wait()
		close(w.gone)
	}()
	return w
}

func (w *worker) end(sig os.Signal) {
	w.once.Do(func() {
		_ = w.cmd.Process.Signal(sig)
		<-w.gone
	})
}

// messages are n new ones.
func messages(n int) []toot.Message {
	messages := make([]toot.Message, n)
	for i := range messages {
		messages[i] = toot.Message{Channel: appChannel, ID: uuid(), Payload: map[string]int{"n": i}}
	}
	return messages
}

// publish publishes messages from one of the apps, and notes the events if they
// were acknowledged.
func (s *system) publish(publisher int, messages []toot.Message) (acknowledged bool) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Second)
	defer cancel()
	s.gate.RLock()
	events, err := s.publishers[publisher].PublishAll(ctx, messages...)
	s.gate.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		text := err.Error()
		s.errs[text[:min(len(text), 160)]]++
		return false
	}
	for _, e := range events {
		s.published = append(s.published, e.ID)
	}
	return true
}

// flow publishes steadily from both apps until it is stopped.
func (s *system) flow() (stop func()) {
	var stopping atomic.Bool
	var wg sync.WaitGroup
	for p := range s.publishers {
		wg.Go(func() {
			for !stopping.Load() {
				s.publish(p, messages(2))
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	stop = sync.OnceFunc(func() {
		stopping.Store(true)
		wg.Wait()
	})
	s.t.Cleanup(stop)
	return stop
}

// handled tells when each event was handled.
func (s *system) handled() map[string][]string {
	counts := map[string][]string{}
	for i := range s.workers {
		text, err := os.ReadFile(filepath.Join(s.dir, fmt.Sprint(i)))
		if err != nil {
			s.t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			id, when, _ := strings.Cut(strings.TrimSpace(line), " ")
			counts[id] = append(counts[id], fmt.Sprintf("by worker %d at %s", i, when))
		}
	}
	return counts
}

func (s *system) acknowledged() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.published
}

// flows waits until events that are published from now on are handled, and
// returns how long that took.
func (s *system) flows() time.Duration {
	s.t.Helper()
	began, before := time.Now(), len(s.acknowledged())
	s.eventually("events flow", time.Minute, func() bool {
		after := s.acknowledged()[before:]
		if len(after) == 0 {
			return false
		}
		counts := s.handled()
		n := 0
		for _, id := range after {
			if len(counts[id]) > 0 {
				n++
			}
		}
		return n >= 50
	})
	return time.Since(began)
}

func (s *system) eventually(what string, within time.Duration, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(within); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("%s: still not so after %v", what, within)
		}
	}
}

// reconcile waits until every acknowledged event is handled, and nothing is
// left to do. It returns how many were handled twice.
func (s *system) reconcile(within time.Duration) (twice int) {
	s.t.Helper()
	acked := s.acknowledged()
	if len(acked) == 0 {
		s.t.Fatal("nothing was published")
	}
	var missing int
	var counts map[string][]string
	for end := time.Now().Add(within); ; time.Sleep(100 * time.Millisecond) {
		counts, missing = s.handled(), 0
		for _, id := range acked {
			if len(counts[id]) == 0 {
				missing++
			}
		}
		if missing == 0 {
			break
		}
		if time.Now().After(end) {
			s.t.Fatalf("%d of %d acknowledged events are lost", missing, len(acked))
		}
	}
	var engines []*redisengine.Engine
	for _, namespace := range []string{"publisher", "subscriber"} {
		engines = append(engines, open(s.t, s.url, &redisengine.Options{Namespace: namespace}))
	}
	s.eventually("nothing is left to do", s.lease+30*time.Second, func() bool {
		for _, e := range engines {
			lanes, err := e.Lanes(s.t.Context())
			if err != nil {
				s.t.Fatal(err)
			}
			for _, l := range lanes {
				if l.Waiting+l.Leased+l.Dead > 0 {
					return false
				}
			}
		}
		return true
	})
	for id, runs := range s.handled() {
		if len(runs) > 1 {
			s.t.Logf("%s was handled %s", id, strings.Join(runs, ", "))
			twice++
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.t.Logf("published %d, lost 0, handled twice %d; errors of Publish: %v", len(acked), twice, s.errs)
	return twice
}

// inHand is how many handlers two workers run at once.
const inHand = 2 * 16

// Two processes publish and two work: every event is handled, once.
func TestAppsHandleEveryEventOnce(t *testing.T) {
	t.Parallel()
	n := 4_000
	if long {
		n = 200_000
	}
	s := newSystem(t, redistest.Start(t).URL(), 2, 0, 30*time.Second)
	began := time.Now()
	var wg sync.WaitGroup
	const batch = 50
	for p := range 2 {
		for range 4 {
			wg.Go(func() {
				for range n / 8 / batch {
					// A busy machine may be late with the answer; then again under the same IDs.
					for some := messages(batch); !s.publish(p, some); {
					}
				}
			})
		}
	}
	wg.Wait()
	published := time.Since(began)
	if twice := s.reconcile(4 * time.Minute); twice > 0 {
		t.Errorf("%d events were handled twice", twice)
	}
	if got := len(s.acknowledged()); got != n {
		t.Errorf("%d of %d events were acknowledged", got, n)
	}
	t.Logf("%d events published in %v, handled in %v", n, published.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
}

// A server that stands still: every process goes on by itself.
func TestAppsOutliveAPausedServer(t *testing.T) {
	t.Parallel()
	pause, lease := 7*time.Second, 20*time.Second
	if long {
		pause = 30 * time.Second
	}
	server := redistest.Start(t, durable...)
	s := newSystem(t, server.URL(), 2, 10*time.Millisecond, lease)
	stop := s.flow()
	s.flows()
	server.Pause()
	time.Sleep(pause)
	t.Logf("paused until %s", time.Now().Format("04:05.000"))
	server.Resume()
	t.Logf("events flowed again after %v", s.flows().Round(time.Millisecond))
	stop()
	twice := s.reconcile(time.Minute)
	// When a lease ends while the server stands still, another process may
	// get what was handled and could not be settled.
	most := 0
	if pause > lease {
		most = inHand
	}
	if twice > most {
		t.Errorf("%d events were handled twice, want at most %d", twice, most)
	}
}

// The master dies, its replica takes over.
func TestAppsOutliveAMaster(t *testing.T) {
	t.Parallel()
	pair := redistest.StartPair(t, durable...)
	s := newSystem(t, pair.URL(), 2, 10*time.Millisecond, 30*time.Second)
	stop := s.flow()
	s.flows()
	// What the master has acknowledged may not have reached the replica; that
	// much the server loses. So nothing is on its way when it dies.
	s.gate.Lock()
	redistest.AwaitReplica(t, pair.Master, pair.Replica)
	pair.Master.Kill()
	s.gate.Unlock()
	pair.AwaitFailover()
	t.Logf("events flowed again %v after the failover", s.flows().Round(time.Millisecond))
	stop()
	if twice := s.reconcile(time.Minute); twice > inHand {
		t.Errorf("%d events were handled twice, want at most %d", twice, inHand)
	}
}

// A worker that dies, or stands still for longer than its leases, loses
// nothing: what it had in hand is due again when the leases end. No handler
// runs twice but those that it was in the middle of.
func TestAppsOutliveAWorker(t *testing.T) {
	t.Parallel()
	for name, disturb := range map[string]func(s *system){
		"that_is_killed": func(s *system) {
			s.workers[0].end(syscall.SIGKILL)
			s.startWorker()
			s.workers[1].end(syscall.SIGKILL)
		},
		"that_stands_still": func(s *system) {
			_ = subprocess.Suspend(s.workers[0].cmd.Process)
			time.Sleep(3 * shortLease)
			_ = subprocess.Resume(s.workers[0].cmd.Process)
		},
		"that_is_stopped": func(s *system) {
			s.workers[0].end(syscall.SIGTERM)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, redistest.Start(t).URL(), 2, 10*time.Millisecond, shortLease)
			stop := s.flow()
			s.flows()
			disturb(s)
			s.flows()
			stop()
			twice, most := s.reconcile(30*time.Second), inHand
			if name == "that_is_stopped" {
				most = 0
			}
			if twice > most {
				t.Errorf("%d events were handled twice, want at most %d", twice, most)
			}
		})
	}
}

// Somebody else, such as an app that runs the Ruby gem, changes the subscribers
// in Redis itself: Publish notices at once.
func TestOthersChangeSubscribers(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]func() (string, func(...string) error){
		"on_a_single_server": func() (string, func(...string) error) {
			s := redistest.Start(t)
			return s.URL(), func(c ...string) error { return s.Try(c...).Error() }
		},
		"on_a_cluster": func() (string, func(...string) error) {
			c := redistest.StartCluster(t)
			return c.URL(), func(command ...string) error {
				var err error
				for _, s := range c.Masters {
					if err = s.Try(command...).Error(); err == nil || !strings.HasPrefix(err.Error(), "MOVED") {
						break
					}
				}
				return err
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, do := url()
			s := newSystem(t, url, 1, 0, 30*time.Second)
			var mu sync.Mutex
			got := map[string]bool{} // IDs of events that the other endpoint was sent
			other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				var e toot.Event
				if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				got[e.ID] = true
			}))
			defer other.Close()
			otherHas := func(id string) bool {
				mu.Lock()
				defer mu.Unlock()
				return got[id]
			}
			publish := func(publisher int) (id string) {
				some := messages(1)
				for !s.publish(publisher, some) {
				}
				return some[0].ID
			}
			change := func(command string) {
				if err := do(command, appPrefix+appChannel, other.URL); err != nil {
					t.Fatal(err)
				}
			}
			publish(0)
			for range 3 {
				change("SADD")
				for p := range s.publishers {
					id := publish(p)
					s.eventually("the next event goes to a subscriber that somebody else has added", time.Minute, func() bool { return otherHas(id) })
				}
				change("SREM")
				var last []string
				for p := range s.publishers {
					publish(p) // which may still go there
					last = append(last, publish(p))
				}
				s.reconcile(time.Minute)
				for _, id := range last {
					if otherHas(id) {
						t.Error("a subscriber that somebody else has removed got the events of more than one call")
					}
				}
			}
		})
	}
}
