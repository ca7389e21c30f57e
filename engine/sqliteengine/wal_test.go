package sqliteengine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/watermarkchurch/toot-go/engine"
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

func TestCommitsAreGathered(t *testing.T) {
	e := open(t, tempFile(t), nil)
	inWriter(t, e, func(w *writer) error {
		if w.c.wal == 0 {
			t.Error("the log was not found")
		}
		return nil
	})
	push(t, e, bigJobs("a", 100)) // more than is gathered at once
	inWriter(t, e, func(w *writer) error {
		if f := walOf(w.c.wal); f.buf == 0 || f.n != 0 || f.gathering {
			t.Errorf("after a commit: memory %v, %d bytes not written, gathering %v", f.buf != 0, f.n, f.gathering)
		}
		return nil
	})
	if info, err := os.Stat(e.path + "-wal"); err != nil || info.Size() < 500_000 {
		t.Errorf("the log: %v, %v", info, err)
	}
}

// What a transaction that fails has written to the log is overwritten by the
// next one, which may be another process's.
func TestWhatFailedStaysOutOfTheLog(t *testing.T) {
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
