package pgengine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/testing/postgrestest"
)

// next is a migration such as one to come: it adds something, and leaves what there
// is to the programs that know no more.
const next = `ALTER TABLE toot.jobs ADD COLUMN extra bigint; CREATE TABLE toot.more (id bigint PRIMARY KEY);`

// work pushes, claims and settles until stop is closed, and counts how often.
func work(t *testing.T, e *Engine, name string, stop chan struct{}, done *atomic.Int64) {
	t.Helper()
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		if _, err := e.Push(t.Context(), engine.PushRequest{Jobs: []engine.Job{job(fmt.Sprint(name, i), name)}}); err != nil {
			t.Errorf("push: %v", err)
			return
		}
		res, err := e.Claim(t.Context(), engine.ClaimRequest{Kind: engine.Deliver, Max: 10, MaxPerLane: 10, Lease: time.Minute})
		if err != nil {
			t.Errorf("claim: %v", err)
			return
		}
		var outcomes []engine.Outcome
		for _, j := range res.Jobs {
			outcomes = append(outcomes, engine.Outcome{Ticket: j.Ticket, Result: engine.Done})
		}
		settled, err := e.Settle(t.Context(), outcomes)
		if err != nil {
			t.Errorf("settle: %v", err)
			return
		}
		for _, s := range settled {
			if !s.OK {
				t.Error("a ticket is stale")
			}
			done.Add(1)
		}
	}
}

func TestANextMigrationIsAppliedBesideRunningProcesses(t *testing.T) {
	t.Parallel()
	url := postgrestest.Database(t)
	engines := []*Engine{open(t, url, nil), open(t, url, nil)}
	stop := make(chan struct{})
	var running sync.WaitGroup
	done := make([]atomic.Int64, len(engines))
	for i, e := range engines {
		running.Go(func() { work(t, e, fmt.Sprint("lane", i), stop, &done[i]) })
	}
	// goOn waits until each of the engines has done something more.
	goOn := func() {
		t.Helper()
		for i := range done {
			before := done[i].Load()
			eventually(t, "every engine works", func() bool { return done[i].Load() > before+1 || t.Failed() })
		}
	}
	goOn()
	newer := open(t, url, &Options{migrations: append(slices.Clone(migrations), next)})
	goOn()
	if _, err := newer.pool.Exec(t.Context(), newer.sql("SELECT extra FROM toot.jobs, toot.more"), newer.mode); err != nil {
		t.Error(err)
	}
	if older, err := Open(t.Context(), url, nil); err != nil {
		t.Errorf("a program that knows an older version can't open the store: %v", err)
	} else {
		_ = older.Close()
	}
	close(stop)
	running.Wait()
	if n := count(t, newer); n != 0 {
		t.Errorf("%d jobs are left", n)
	}
	// One that needs newer programs says so.
	if _, err := newer.pool.Exec(t.Context(), newer.sql("UPDATE toot.state SET needs = 2"), newer.mode); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), url, nil); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("a program that is too old: %v", err)
	}
}

func TestManyProcessesMakeTheSchemaOnce(t *testing.T) {
	t.Parallel()
	url := postgrestest.Database(t)
	var running sync.WaitGroup
	for range 6 {
		running.Go(func() {
			e, err := Open(t.Context(), url, &Options{Logger: quiet})
			if err != nil {
				t.Error(err)
				return
			}
			_ = e.Close()
		})
	}
	running.Wait()
}

// Whoever has a tool of his own change his databases runs what Schema returns; then
// the role of the app needs no right to make anything.
func TestTheSchemaCanBeMadeByOthers(t *testing.T) {
	t.Parallel()
	s := postgrestest.Shared(t)
	url := s.Database(t)
	name := `odd "name`
	admin := open(t, url, &Options{Schema: "another"})
	exec := func(sql string) {
		t.Helper()
		if _, err := admin.pool.Exec(context.Background(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	exec("CREATE ROLE least LOGIN")
	t.Cleanup(func() {
		_, _ = admin.pool.Exec(context.Background(), "DROP OWNED BY least; DROP ROLE least")
	})
	least := strings.Replace(url, "postgres@", "least@", 1)
	if _, err := Open(t.Context(), least, &Options{Schema: name}); err == nil || !strings.Contains(err.Error(), "pgengine.Schema") {
		t.Errorf("a role that may make no schema: %v", err)
	}
	exec(Schema(name, 0))
	exec(`GRANT USAGE ON SCHEMA "odd ""name" TO least; GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA "odd ""name" TO least; GRANT USAGE ON ALL SEQUENCES IN SCHEMA "odd ""name" TO least`)
	e := open(t, least, &Options{Schema: name})
	stop := make(chan struct{})
	var done atomic.Int64
	var running sync.WaitGroup
	running.Go(func() { work(t, e, "lane", stop, &done) })
	eventually(t, "something is done", func() bool { return done.Load() > 2 || t.Failed() })
	close(stop)
	running.Wait()
}
