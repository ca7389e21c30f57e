package sqliteengine

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine/internal/sqlite"
	"github.com/watermarkchurch/toot-go/internal/testing/memdir"
)

// fakeClock is the clock of a machine under test.
type fakeClock struct {
	mu   sync.Mutex
	wall time.Time
	mono time.Duration
}

func newFakeClock() *fakeClock { return &fakeClock{wall: time.Now(), mono: time.Hour} }

func (c *fakeClock) read() (wall time.Time, mono time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wall, c.mono
}

// add lets time pass.
func (c *fakeClock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall, c.mono = c.wall.Add(d), c.mono+d
}

// jump sets wall time.
func (c *fakeClock) jump(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wall = c.wall.Add(d)
}

func tempFile(t testing.TB) string { return filepath.Join(memdir.New(t), "toot.db") }

// open opens an engine that is checked and closed at the end of the test.
func open(t testing.TB, file string, opts *Options) *Engine {
	t.Helper()
	e, err := Open(file, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		checkFile(t, e)
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// checkFile holds the rows of an engine's file against each other.
func checkFile(t testing.TB, e *Engine) {
	t.Helper()
	err := e.read(context.Background(), "check", func(c *conn) error {
		for what, sql := range map[string]string{
			"damage":                           "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'",
			"events without a job":             "SELECT count(*) FROM events WHERE seq NOT IN (SELECT seq FROM jobs)",
			"jobs without an event":            "SELECT count(*) FROM jobs WHERE seq NOT IN (SELECT seq FROM events)",
			"jobs without a lane":              "SELECT count(*) FROM jobs WHERE lane NOT IN (SELECT id FROM lanes)",
			"wrong counts":                     "SELECT count(*) FROM refs r WHERE n <> (SELECT count(*) FROM jobs j WHERE j.seq = r.seq)",
			"shared jobs without a count":      "SELECT count(*) FROM jobs WHERE shared AND seq NOT IN (SELECT seq FROM refs)",
			"unshared jobs with a count":       "SELECT count(*) FROM jobs WHERE NOT shared AND seq IN (SELECT seq FROM refs)",
			"unshared events of several jobs":  "SELECT count(*) FROM (SELECT seq FROM jobs WHERE NOT shared GROUP BY seq HAVING count(*) > 1)",
			"lanes that say too late":          "SELECT count(*) FROM lanes l WHERE next > (SELECT min(due) FROM jobs j WHERE j.lane = l.id)",
			"lanes whose wake is not as it is": "SELECT count(*) FROM lanes WHERE wake <> max(next, deferred)",
		} {
			n, err := c.queryInt(sql)
			if err != nil {
				return err
			}
			if n != 0 {
				t.Errorf("the file has %s: %d", what, n)
			}
		}
		return nil
	})
	if err != nil {
		t.Errorf("checking the file: %v", err)
	}
}

var testLane = engine.Lane{Kind: engine.Deliver, Name: "lane"}

// newJobs returns n jobs for a lane, whose events' IDs begin with prefix.
func newJobs(prefix string, n int, lane engine.Lane, lease time.Duration) []engine.Job {
	jobs := make([]engine.Job, n)
	for i := range jobs {
		jobs[i] = engine.Job{
			Event: &engine.Event{ID: fmt.Sprintf("%s-%06d", prefix, i), Channel: "channel", Body: []byte(`{}`)},
			Lane:  lane,
			Lease: lease,
		}
	}
	return jobs
}

func push(t testing.TB, e *Engine, jobs []engine.Job) []engine.Ticket {
	t.Helper()
	res, err := e.Push(context.Background(), engine.PushRequest{Jobs: jobs})
	if err != nil {
		t.Fatal(err)
	}
	return res.Tickets
}

func claimAll(t testing.TB, e *Engine, kind engine.Kind) []engine.Claimed {
	t.Helper()
	var jobs []engine.Claimed
	for {
		res, err := e.Claim(context.Background(), engine.ClaimRequest{Kind: kind, Max: 1000, MaxPerLane: 1000, Lease: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if len(res.Jobs) == 0 {
			return jobs
		}
		jobs = append(jobs, res.Jobs...)
	}
}

// settleAll gives all jobs the same outcome and returns how many took it.
func settleAll(t testing.TB, e *Engine, tickets []engine.Ticket, o engine.Outcome) int {
	t.Helper()
	outcomes := make([]engine.Outcome, len(tickets))
	for i := range outcomes {
		outcomes[i] = o
		outcomes[i].Ticket = tickets[i]
	}
	settled, err := e.Settle(context.Background(), outcomes)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, s := range settled {
		if s.OK {
			n++
		}
	}
	return n
}

func ticketsOf(jobs []engine.Claimed) []engine.Ticket {
	tickets := make([]engine.Ticket, len(jobs))
	for i := range jobs {
		tickets[i] = jobs[i].Ticket
	}
	return tickets
}

// lockFile keeps everybody from writing until unlock is called.
func lockFile(t testing.TB, file string) (unlock func()) {
	t.Helper()
	c, err := openConn(file, sqlite.Existing, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.busyTimeout(busyTimeout)
	if err := c.exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := c.exec("ROLLBACK"); err != nil {
			t.Error(err)
		}
		if err := c.close(); err != nil {
			t.Error(err)
		}
	}
}
