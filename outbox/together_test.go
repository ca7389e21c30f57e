//go:build linux || darwin || freebsd

package outbox_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/pgengine"
	"github.com/watermarkchurch/toot-go/internal/testing/netfault"
	"github.com/watermarkchurch/toot-go/internal/testing/sqltest"
	"github.com/watermarkchurch/toot-go/outbox"
)

// together is an outbox in the database of its app's engine, which forgets at once
// what is done. The app does not run: the test itself takes the jobs, and counts them.
type together struct {
	db     *sqltest.DB
	engine *pgengine.Engine
	app    *toot.App
	box    *outbox.Outbox // not through what may fail
	taken  map[string]int // how often the job of an event was there
}

func newTogether(t *testing.T, engineSource string) *together {
	t.Helper()
	s := &together{db: sqltest.New(t, outbox.Postgres), taken: map[string]int{}}
	if engineSource == "" {
		engineSource = s.db.Source
	}
	var err error
	s.engine, err = pgengine.Open(t.Context(), engineSource, &pgengine.Options{Retention: engine.Retention{Dedupe: time.Millisecond}})
	must(t, err)
	s.app, err = toot.New(s.engine, &toot.Options{Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	t.Cleanup(func() {
		must(t, s.app.Close())
		must(t, s.engine.Close())
	})
	_, err = s.engine.AddSubscriber(t.Context(), "a", "http://192.0.2.1/", 0)
	must(t, err)
	s.box, err = outbox.New(s.app, s.db.DB, s.db.Dialect, nil)
	must(t, err)
	must(t, s.box.Migrate(t.Context()))
	return s
}

func (s *together) publish(t *testing.T, ids ...string) {
	t.Helper()
	tx, err := s.db.BeginTx(t.Context(), nil)
	must(t, err)
	for _, id := range ids {
		_, err = s.box.PublishAll(t.Context(), tx, toot.Message{Channel: "a", ID: id})
		must(t, err)
	}
	must(t, tx.Commit())
}

// take takes the jobs that are there, and makes the store forget them.
func (s *together) take(t *testing.T) {
	t.Helper()
	for {
		res, err := s.engine.Claim(t.Context(), engine.ClaimRequest{Kind: engine.Deliver, Max: 1000, MaxPerLane: 1000, Lease: time.Hour})
		must(t, err)
		if len(res.Jobs) == 0 {
			break
		}
		outcomes := make([]engine.Outcome, len(res.Jobs))
		for i, j := range res.Jobs {
			s.taken[j.Event.ID]++
			outcomes[i] = engine.Outcome{Ticket: j.Ticket, Result: engine.Done}
		}
		_, err = s.engine.Settle(t.Context(), outcomes)
		must(t, err)
	}
	// As when the window is over. Whoever pushes just now is waited for.
	s.db.Do(t, "TRUNCATE toot.seen0, toot.seen1")
}

func (s *together) isMoved(t *testing.T) bool {
	return s.db.Int(t, "SELECT COUNT(*) FROM toot_outbox") == 0
}

// wantOnce is that each of so many events had one job.
func (s *together) wantOnce(t *testing.T, events int) {
	t.Helper()
	for id, n := range s.taken {
		if n != 1 {
			t.Errorf("%s had %d jobs", id, n)
		}
	}
	if len(s.taken) != events {
		t.Errorf("%d events had jobs, want %d", len(s.taken), events)
	}
}

// TestInTheEnginesDatabaseACommitThatIsCutOffRepeatsNothing: publishing an event and
// deleting its row are one transaction there. Without it, an event whose row stayed
// would be published again, and once the engine has forgotten it that is a second job.
func TestInTheEnginesDatabaseACommitThatIsCutOffRepeatsNothing(t *testing.T) {
	s := newTogether(t, "")
	proxy, err := netfault.New(s.db.Addr())
	must(t, err)
	defer proxy.Close()
	far, err := outbox.New(s.app, s.db.Open(t, s.db.Via(proxy.Addr())), s.db.Dialect, &outbox.Options{Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	stop := inBackground(t, far.Run)
	defer stop()
	const events = 12
	for i := range events {
		fault := proxy.LoseAnswers
		if i%2 == 0 {
			fault = proxy.Down
		}
		cut := make(chan struct{})
		proxy.When("commit\x00", func() { fault(); close(cut) })
		s.publish(t, fmt.Sprint(i))
		<-cut
		s.take(t)
		proxy.Cut()
		proxy.Mend()
		eventually(t, "the row is moved", func() bool { return s.isMoved(t) })
		s.take(t)
	}
	s.wantOnce(t, events)
}

// TestInTheEnginesDatabaseAKilledRelayRepeatsNothing: relays in a process that is
// killed again and again.
func TestInTheEnginesDatabaseAKilledRelayRepeatsNothing(t *testing.T) {
	s := newTogether(t, "")
	const events, rounds, each = 300, 4, 5
	var ids []string
	for i := range events {
		ids = append(ids, fmt.Sprint(i))
	}
	for round := range rounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), envRelay+"="+s.db.Source)
		cmd.Stderr = os.Stderr
		must(t, cmd.Start())
		part := ids[round*events/rounds : (round+1)*events/rounds]
		for len(part) > 0 {
			s.publish(t, part[:each]...)
			part = part[each:]
		}
		before := len(s.taken)
		for end := time.Now().Add(time.Minute); len(s.taken) == before && time.Now().Before(end); {
			s.take(t)
		}
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond) // at any moment
		must(t, cmd.Process.Kill())
		_ = cmd.Wait()
		s.take(t)
	}
	stop := inBackground(t, s.box.Run)
	eventually(t, "everything is moved", func() bool { return s.isMoved(t) })
	stop()
	s.take(t)
	s.wantOnce(t, events)
}

// envRelay is where the outbox and the engine are of a process that only relays.
const envRelay = "TOOT_OUTBOXTEST_RELAY"

func playRelay() {
	source := os.Getenv(envRelay)
	if source == "" {
		return
	}
	fmt.Fprintln(os.Stderr, relayFor(source)) // it ends by being killed
	os.Exit(1)
}

func relayFor(source string) error {
	ctx := context.Background()
	e, err := pgengine.Open(ctx, source, nil)
	if err != nil {
		return err
	}
	app, err := toot.New(e, &toot.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	db, err := sql.Open("pgx", source)
	if err != nil {
		return err
	}
	box, err := outbox.New(app, db, outbox.Postgres, &outbox.Options{MaxRows: 7, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	var relays sync.WaitGroup
	for range 2 {
		relays.Go(func() { _ = box.Run(ctx) })
	}
	relays.Wait()
	return nil
}

// TestInTheEnginesDatabaseAnAppGetsItsEvents: they are handed to its workers at once,
// what can't be published is set aside, and what is undone is not sent.
func TestInTheEnginesDatabaseAnAppGetsItsEvents(t *testing.T) {
	s := newTogether(t, "")
	endpoint := newEndpoint(t)
	_, err := s.engine.AddSubscriber(t.Context(), "b", endpoint.url, 0)
	must(t, err)
	stop := inBackground(t, s.app.Run)
	defer stop()
	relay := inBackground(t, s.box.Run)
	defer relay()
	tx := begin(t, s.db.DB)
	var ids []string
	for i := range 30 {
		ids = append(ids, fmt.Sprint(i))
		_, err := s.box.PublishAll(t.Context(), tx, toot.Message{Channel: "b", ID: ids[i]})
		must(t, err)
	}
	_, err = tx.ExecContext(t.Context(), "INSERT INTO toot_outbox (id, channel, body, meta, delay_ms, created_ms) VALUES ('x', 'b', 'no event', '', 0, 0)")
	must(t, err)
	must(t, tx.Commit())
	endpoint.await(t, ids...)
	eventually(t, "one is set aside", func() bool {
		stats, err := s.box.Stats(t.Context())
		must(t, err)
		return stats.SetAside == 1 && stats.Waiting == 0
	})
}

// TestAnEngineInAnotherDatabase: its events are published before their rows are
// deleted, as with any other engine.
func TestAnEngineInAnotherDatabase(t *testing.T) {
	s := newTogether(t, sqltest.New(t, outbox.Postgres).Source)
	// Even if something lies here that looks like the engine's.
	copied, err := pgengine.Open(t.Context(), s.db.Source, nil)
	must(t, err)
	defer func() { must(t, copied.Close()) }()
	relay := inBackground(t, s.box.Run)
	defer relay()
	s.publish(t, "one", "two")
	eventually(t, "the rows are moved", func() bool { return s.isMoved(t) })
	res, err := s.engine.Claim(t.Context(), engine.ClaimRequest{Kind: engine.Deliver, Max: 10, MaxPerLane: 10, Lease: time.Hour})
	must(t, err)
	if len(res.Jobs) != 2 {
		t.Errorf("%d jobs are in the engine's database, want 2", len(res.Jobs))
	}
}
