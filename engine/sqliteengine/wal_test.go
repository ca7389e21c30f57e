package sqliteengine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine/internal/sqlite"
)

func bigJobs(prefix string, n int) []engine.Job {
	jobs := newJobs(prefix, n, testLane, 0)
	for i := range jobs {
		jobs[i].Event.Body = body(jobs[i].Event.ID)
	}
	return jobs
}

func body(id string) []byte { return bytes.Repeat([]byte(id), 300) }

// inWriter runs f on the connection that writes.
func inWriter(t *testing.T, e *Engine, f func(*writer) error) {
	t.Helper()
	if err := e.do(context.Background(), "test", &op{run: f}); err != nil {
		t.Fatal(err)
	}
}

// logged is what an engine has told its logger, as text.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func TestCommitsAreGathered(t *testing.T) {
	t.Parallel()
	var log logged
	e := open(t, tempFile(t), &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	push(t, e, bigJobs("a", 100))
	if log.String() != "" {
		t.Errorf("logged: %s", &log)
	}
}

// A later version of the library may be one that the gathering VFS was not
// made for.
func TestTheLibrarysOwnVFSWillDo(t *testing.T) {
	t.Parallel()
	for name, vfs := range map[string]func() (*sqlite.VFS, error){
		"the library is not as expected": func() (*sqlite.VFS, error) { return nil, errors.New("tested: sqlite3_vfs has 200 bytes") },
		"the log is not as expected":     func() (*sqlite.VFS, error) { return nil, nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log logged
			opts := &Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), vfs: vfs}
			file := tempFile(t)
			e := open(t, file, opts)
			jobs := bigJobs("a", 300)
			push(t, e, jobs)
			e = open(t, file, nil) // one that gathers
			claimed := claimAll(t, e, engine.Deliver)
			if len(claimed) != len(jobs) {
				t.Fatalf("%d of %d jobs are there", len(claimed), len(jobs))
			}
			for _, j := range claimed {
				if !bytes.Equal(j.Event.Body, body(j.Event.ID)) {
					t.Fatalf("event %q is not as it was pushed", j.Event.ID)
				}
			}
			if n := settleAll(t, e, ticketsOf(claimed), engine.Outcome{Result: engine.Done}); n != len(jobs) {
				t.Errorf("%d of %d are done", n, len(jobs))
			}
			_, reason := vfs()
			if reason == nil {
				reason = errors.New("the library's own VFS")
			}
			got := log.String()
			if strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=WARN") || !strings.Contains(got, file) || !strings.Contains(got, reason.Error()) {
				t.Errorf("logged: %s", got)
			}
		})
	}
}

// What a transaction that fails has written to the log is overwritten by the
// next one, which may be another process's.
func TestWhatFailedStaysOutOfTheLog(t *testing.T) {
	t.Parallel()
	file := tempFile(t)
	e, other := open(t, file, nil), open(t, file, nil)
	inWriter(t, e, func(w *writer) error { return w.c.exec("PRAGMA cache_size = 5") }) // does not hold the transactions below
	want := map[string]bool{}
	for i := range 20 {
		failure := errors.New("failed")
		err := e.do(t.Context(), "test", &op{run: func(w *writer) error {
			if err := w.c.exec("CREATE TABLE junk AS SELECT i, randomblob(3000) FROM nums LIMIT 200"); err != nil {
				return err
			}
			return failure
		}})
		if !errors.Is(err, failure) {
			t.Fatal(err)
		}
		for k, by := range []*Engine{other, e} {
			jobs := bigJobs(fmt.Sprint(i, k), 300)
			push(t, by, jobs)
			for _, j := range jobs {
				want[j.Event.ID] = true
			}
		}
	}
	jobs := claimAll(t, other, engine.Deliver)
	for _, j := range jobs {
		if !want[j.Event.ID] || !bytes.Equal(j.Event.Body, body(j.Event.ID)) {
			t.Fatalf("event %q is not as it was pushed", j.Event.ID)
		}
		delete(want, j.Event.ID)
	}
	if len(want) > 0 {
		t.Errorf("%d events are missing", len(want))
	}
	if n := settleAll(t, e, ticketsOf(jobs), engine.Outcome{Result: engine.Done}); n != len(jobs) {
		t.Errorf("%d of %d are done", n, len(jobs))
	}
}
