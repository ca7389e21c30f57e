// Package diskfull holds the tests of what the whole of a publisher and a
// subscriber do when their disk has no room, or has damaged their files.
package diskfull

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine"
	"github.com/watermarkchurch/toot-go/internal/testing/memdir"
)

const envDir = "TOOT_DISKFULL_DIR"

// A limit to the size of files is one of a whole process, so the scene is
// played in a process of its own.
func TestMain(m *testing.M) {
	if dir := os.Getenv(envDir); dir != "" {
		if err := scene(dir, limitFiles); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// limitFiles leaves little room to every file, until more is called.
func limitFiles(string) (more func() error, err error) {
	signal.Ignore(syscall.SIGXFSZ)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return nil, err
	}
	before := limit.Cur
	limit.Cur = 6 << 20 // the write-ahead log grows to 4 MB as a rule
	more = func() error {
		limit.Cur = before
		return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit)
	}
	return more, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit)
}

func TestFilesThatMayNotGrow(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), envDir+"="+memdir.New(t))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestADiskThatIsFull has a small disk of its own where the system lets it
// mount one (as root, on Linux). Elsewhere the test above has to do.
func TestADiskThatIsFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("toot", dir, "tmpfs", 0, "size=12m"); err != nil {
		t.Logf("no disk could be mounted (%v)", err)
		return
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	err := scene(dir, func(string) (func() error, error) {
		return func() error { return syscall.Mount("toot", dir, "tmpfs", syscall.MS_REMOUNT, "size=200m") }, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// scene lets a publisher and a subscriber run out of room, looks at what they
// say, gives them room and accounts for every event.
func scene(dir string, confine func(dir string) (more func() error, err error)) error {
	var mu sync.Mutex
	runs := map[string]int{}
	subscriber, stopSubscriber, err := open(filepath.Join(dir, "received.db"))
	if err != nil {
		return err
	}
	defer stopSubscriber()
	must(subscriber.AddSource("publisher", toot.Source{SubscriptionURL: "http://127.0.0.1:1/"}))
	must(subscriber.Subscribe("publisher", "a", toot.HandlerFunc(func(_ context.Context, e *toot.Event) error {
		mu.Lock()
		defer mu.Unlock()
		runs[e.ID]++
		return nil
	})))
	server := httptest.NewServer(subscriber.HandlerService())
	defer server.Close()
	publisher, stopPublisher, err := open(filepath.Join(dir, "published.db"), server.URL)
	if err != nil {
		return err
	}
	defer stopPublisher()

	more, err := confine(dir)
	if err != nil {
		return err
	}
	// Nothing is delivered as yet, so that the publisher's store fills up, and
	// what is sent to the subscriber by hand fills its own.
	var acked, accepted []string
	text := strings.Repeat("x", 20_000)
	if err := untilRefused(func(int) error {
		e, err := publisher.Publish(context.Background(), "a", text)
		if err == nil {
			acked = append(acked, e.ID)
			return nil
		}
		if !strings.Contains(err.Error(), "published.db") || errors.Is(err, toot.ErrClosed) {
			return fmt.Errorf("unclear: %w", err)
		}
		return fmt.Errorf("%w: %w", errRefused, err)
	}); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	if err := untilRefused(func(i int) error {
		id := fmt.Sprint("by-hand-", i)
		res, err := http.Post(server.URL, "application/json", strings.NewReader(fmt.Sprintf(`{"id":%q,"channel":"a","payload":%q}`, id, text)))
		if err != nil {
			return err
		}
		defer func() { _ = res.Body.Close() }()
		detail, _ := io.ReadAll(res.Body)
		switch {
		case res.StatusCode == 200:
			accepted = append(accepted, id)
			return nil
		case res.StatusCode == 503 && res.Header.Get("Retry-After") != "" && bytes.Contains(detail, []byte("Nothing was stored")):
			return errRefused
		}
		return fmt.Errorf("status %d: %s", res.StatusCode, detail)
	}); err != nil {
		return fmt.Errorf("callback: %w", err)
	}

	runPublisher, runSubscriber := run(publisher), run(subscriber)
	time.Sleep(2 * time.Second) // of trying without room
	if err := more(); err != nil {
		return err
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if e, err := publisher.Publish(context.Background(), "a", text); err == nil {
			acked = append(acked, e.ID)
			break
		} else if time.Now().After(end) {
			return fmt.Errorf("there is room again, but: %w", err)
		}
	}
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		a, err := publisher.Stats(context.Background())
		must(err)
		b, err := subscriber.Stats(context.Background())
		must(err)
		if a.Waiting+a.InFlight+b.Waiting+b.InFlight == 0 {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("still waiting: %+v %+v", a, b)
		}
	}
	if err := errors.Join(runPublisher(), runSubscriber()); err != nil {
		return err
	}
	if len(acked) < 50 {
		return fmt.Errorf("only %d events were published", len(acked))
	}
	mu.Lock()
	defer mu.Unlock()
	for _, id := range append(acked, accepted...) {
		if runs[id] != 1 {
			return fmt.Errorf("event %s was acknowledged, but handled %d times", id, runs[id])
		}
	}
	return nil
}

func open(file string, subscribers ...string) (app *toot.App, stop func(), err error) {
	eng, err := sqliteengine.Open(file, nil)
	if err != nil {
		return nil, nil, err
	}
	for _, url := range subscribers {
		if _, err := eng.AddSubscriber(context.Background(), "a", url, 0); err != nil {
			return nil, nil, err
		}
	}
	app, err = toot.New(eng, &toot.Options{
		CallbackURL: "http://127.0.0.1:1/callbacks", RequestTimeout: time.Second, ProbeInterval: time.Second,
		RetryDelay: func(int) time.Duration { return 100 * time.Millisecond }, MaxRetries: 10_000,
		Logger: slog.New(slog.DiscardHandler),
	})
	return app, func() {
		_ = app.Close()
		_ = eng.Close()
	}, err
}

func run(app *toot.App) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- app.Run(ctx) }()
	return func() error {
		cancel()
		return <-done
	}
}

var errRefused = errors.New("refused")

// untilRefused repeats something until it was refused some times in a row.
func untilRefused(do func(i int) error) error {
	refused := 0
	for i := range 10_000 {
		switch err := do(i); {
		case err == nil:
			refused = 0
		case errors.Is(err, errRefused):
			if refused++; refused == 10 {
				return nil
			}
		default:
			return err
		}
	}
	return errors.New("it was never refused")
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func TestADamagedFile(t *testing.T) {
	t.Parallel()
	for name, from := range map[string]int64{"from its first byte": 0, "behind its first page": 4096} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(memdir.New(t), "toot.db")
			app, stop, err := open(file, "http://127.0.0.1:1/")
			must(err)
			must(app.AddSource("publisher", toot.Source{SubscriptionURL: "http://127.0.0.1:1/"}))
			for range 200 {
				_, err := app.Publish(t.Context(), "a", strings.Repeat("x", 5000))
				must(err)
			}
			stop()
			info, err := os.Stat(file)
			must(err)
			f, err := os.OpenFile(file, os.O_WRONLY, 0)
			must(err)
			_, err = f.WriteAt(bytes.Repeat([]byte("garbage!"), int(info.Size()-from)/8), from)
			must(err)
			must(f.Close())

			clear := func(err error) bool {
				return strings.Contains(err.Error(), "toot.db") && (strings.Contains(err.Error(), "damaged") || strings.Contains(err.Error(), "not an SQLite database"))
			}
			app, stop, err = open(file)
			if err != nil {
				if !clear(err) {
					t.Errorf("unclear: %v", err)
				}
				return
			}
			defer stop()
			must(app.AddSource("publisher", toot.Source{SubscriptionURL: "http://127.0.0.1:1/"}))
			must(app.Subscribe("publisher", "a", toot.HandlerFunc(func(context.Context, *toot.Event) error { return nil })))
			end := run(app)
			for range 20 {
				if _, err := app.Publish(t.Context(), "a", nil); err == nil || !clear(err) {
					t.Errorf("Publish: %v", err)
				}
				w := httptest.NewRecorder()
				app.HandlerService().ServeHTTP(w, httptest.NewRequest("POST", "/", strings.NewReader(`{"id":"1","channel":"a"}`)))
				if w.Code != 503 || w.Header().Get("X-Toot-Unsubscribe") != "" {
					t.Errorf("callback: status %d", w.Code)
				}
			}
			must(end())
		})
	}
}
