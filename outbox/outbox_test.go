//go:build linux || darwin || freebsd

package outbox_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine"
	"github.com/watermarkchurch/toot-go/internal/testing/faultengine"
	"github.com/watermarkchurch/toot-go/internal/testing/memdir"
	"github.com/watermarkchurch/toot-go/internal/testing/sqltest"
	"github.com/watermarkchurch/toot-go/outbox"
)

func TestMain(m *testing.M) {
	playRelay()
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/watermarkchurch/toot-go/internal/testing/mariadbtest.(*Server).launch.func2"),
		goleak.IgnoreAnyFunction("github.com/watermarkchurch/toot-go/internal/testing/mariadbtest.(*Server).keep.func2"))
}

// site is a publisher with an outbox in a database, and the endpoint of a
// subscriber to "a".
type site struct {
	*toot.App
	*endpoint
	box    *outbox.Outbox
	db     *sqltest.DB
	engine *faultengine.Engine
	log    *logged
}

// newSite makes a site. Its app runs; its relay does not yet.
func newSite(t *testing.T, db *sqltest.DB, opts *toot.Options) *site {
	t.Helper()
	s := &site{db: db, endpoint: newEndpoint(t), log: &logged{}}
	store, err := sqliteengine.Open(filepath.Join(memdir.New(t), "toot.db"), nil)
	must(t, err)
	s.engine = faultengine.Wrap(store)
	if opts == nil {
		opts = &toot.Options{}
	}
	opts.Logger = slog.New(slog.DiscardHandler)
	s.App, err = toot.New(s.engine, opts)
	must(t, err)
	_, err = store.AddSubscriber(t.Context(), "a", s.url, 0)
	must(t, err)
	stop := inBackground(t, s.Run)
	t.Cleanup(func() {
		stop()
		must(t, s.Close())
		must(t, store.Close())
	})
	s.box = s.outbox(t, s.App)
	must(t, s.box.Migrate(t.Context()))
	return s
}

func (s *site) outbox(t *testing.T, app *toot.App) *outbox.Outbox {
	t.Helper()
	box, err := outbox.New(app, s.db.DB, s.db.Dialect, &outbox.Options{Logger: slog.New(slog.NewTextHandler(s.log, nil))})
	must(t, err)
	return box
}

// relay runs the relay until the test is over, or what is returned is called.
func (s *site) relay(t *testing.T) (stop func()) { return inBackground(t, s.box.Run) }

// inBackground runs something that ends with its context, and expects no error of
// it.
func inBackground(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// publish publishes events on "a" in a transaction, and commits it.
func (s *site) publish(t *testing.T, ids ...string) {
	t.Helper()
	tx := begin(t, s.db.DB)
	for _, id := range ids {
		publishIn(t, s.box, tx, id)
	}
	must(t, tx.Commit())
}

func publishIn(t *testing.T, box *outbox.Outbox, tx outbox.Tx, id string) {
	t.Helper()
	_, err := box.PublishAll(t.Context(), tx, toot.Message{Channel: "a", ID: id})
	must(t, err)
}

func begin(t *testing.T, db *sql.DB) *sql.Tx {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	must(t, err)
	t.Cleanup(func() { _ = tx.Rollback() })
	return tx
}

// isEmpty reports whether nothing waits in the outbox.
func (s *site) isEmpty(t *testing.T) bool {
	t.Helper()
	stats, err := s.box.Stats(t.Context())
	must(t, err)
	return stats.Waiting == 0
}

// endpoint remembers what it is sent.
type endpoint struct {
	url string

	mu     sync.Mutex
	bodies []string
	ids    []string
	traces []string
}

func newEndpoint(t *testing.T) *endpoint {
	t.Helper()
	e := &endpoint{}
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	e.url = server.URL
	return e
}

func (e *endpoint) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var event toot.Event
	err := json.Unmarshal(body, &event)
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		event.ID = err.Error()
	}
	e.bodies = append(e.bodies, string(body))
	e.ids = append(e.ids, event.ID)
	e.traces = append(e.traces, r.Header.Get("Traceparent"))
}

// got returns the IDs of what has arrived, in ascending order.
func (e *endpoint) got() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Sorted(slices.Values(e.ids))
}

// await waits until exactly these events have arrived.
func (e *endpoint) await(t *testing.T, ids ...string) {
	t.Helper()
	slices.Sort(ids)
	eventually(t, fmt.Sprintf("%d events arrive", len(ids)), func() bool { return len(e.got()) >= len(ids) })
	if got := e.got(); !slices.Equal(got, ids) {
		t.Fatalf("%.300q arrived, want %.300q", got, ids)
	}
}

// logged is what was logged.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited a minute in vain: %s", what)
		}
	}
}

// TestAnEventGoesOutIfItsTransactionCommits: not before, not if it is rolled back
// or was never ended, and then byte for byte.
func TestAnEventGoesOutIfItsTransactionCommits(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqltest.DB) {
		s := newSite(t, db, nil)
		s.relay(t)
		undone := begin(t, db.DB)
		publishIn(t, s.box, undone, "undone")
		must(t, undone.Rollback())

		const id, payload = `q'uo"te\ é 日本 %s ? $1 Ünï`, `{"n": 12345678901234567890,  "b":"\u00e9 é \\ ' ? $1"}`
		tx := begin(t, db.DB)
		events, err := s.box.PublishAll(t.Context(), tx, toot.Message{Channel: "a", ID: id, Payload: json.RawMessage(payload)})
		must(t, err)
		if !s.isEmpty(t) {
			t.Error("the event is seen before the commit")
		}
		must(t, tx.Commit())
		s.await(t, id)
		if want := fmt.Sprintf(`{"id":"q'uo\"te\\ é 日本 %%s ? $1 Ünï","timestamp":%q,"payload":%s,"channel":"a"}`, events[0].TimestampText, payload); s.bodies[0] != want {
			t.Errorf("%s arrived,\nwant %s", s.bodies[0], want)
		}
		eventually(t, "the row is deleted", func() bool { return s.isEmpty(t) })
	})
}

// TestIDsThatDifferAreTwo: no collation takes them for one.
func TestIDsThatDifferAreTwo(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqltest.DB) {
		s := newSite(t, db, nil)
		ids := []string{"a", "A", "a ", "ä", "á", "a\u0301", "ß", "ss", strings.Repeat("x", 1024), strings.Repeat("x", 1023) + "X"}
		s.publish(t, ids...)
		s.relay(t)
		s.await(t, ids...)
	})
}

// TestATransactionThatCommitsLateIsNotPassedOver: those that began later and
// committed earlier have long been moved.
func TestATransactionThatCommitsLateIsNotPassedOver(t *testing.T) {
	sqltest.Servers(t, func(t *testing.T, db *sqltest.DB) {
		s := newSite(t, db, nil)
		s.relay(t)
		late := begin(t, db.DB)
		publishIn(t, s.box, late, "late")
		var ids []string
		for i := range 20 {
			ids = append(ids, fmt.Sprint("early ", i))
			s.publish(t, ids[i])
		}
		s.await(t, ids...)
		must(t, late.Commit())
		s.await(t, append(ids, "late")...)
	})
}

// TestNobodyWaitsForARelay: while it publishes, others write into the outbox and
// commit, and another relay moves that.
func TestNobodyWaitsForARelay(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqltest.DB) {
		s := newSite(t, db, nil)
		pushing, goOn := make(chan struct{}), make(chan struct{})
		var once sync.Once
		s.engine.Play(func(c faultengine.Call) faultengine.Fault {
			if c.Method == faultengine.Push {
				once.Do(func() {
					close(pushing)
					<-goOn
				})
			}
			return faultengine.Fault{}
		})
		other := newSite(t, db, nil)
		s.publish(t, "first")
		stop := s.relay(t)
		<-pushing
		began := time.Now()
		for i := range 10 {
			s.publish(t, fmt.Sprint("other ", i))
		}
		if db.Dialect.Locks() { // on SQLite they may be both's
			other.relay(t)
			eventually(t, "another relay moves them", func() bool { return len(other.got()) == 10 })
		}
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("others waited %v", took)
		}
		close(goOn)
		eventually(t, "the first arrives", func() bool { return slices.Contains(s.got(), "first") })
		stop()
	})
}

// TestIsolationLevels: at each, many publish at the same time beside a relay, and
// none is in another's way.
func TestIsolationLevels(t *testing.T) {
	sqltest.Servers(t, func(t *testing.T, db *sqltest.DB) {
		s := newSite(t, db, nil)
		s.relay(t)
		var ids []string
		var all sync.WaitGroup
		for _, level := range []sql.IsolationLevel{sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable} {
			for worker := range 4 {
				const each = 15
				for i := range each {
					ids = append(ids, fmt.Sprint(level, worker, i))
				}
				all.Go(func() {
					for i := range each {
						tx, err := db.BeginTx(t.Context(), &sql.TxOptions{Isolation: level})
						if err == nil {
							_, err = s.box.PublishAll(t.Context(), tx, toot.Message{Channel: "a", ID: fmt.Sprint(level, worker, i)})
						}
						if err == nil {
							err = tx.Commit()
						}
						if err != nil {
							t.Errorf("%v: %v", level, err)
							return
						}
					}
				})
			}
		}
		all.Wait()
		s.await(t, ids...)
	})
}

// TestManyRelays: each event is published by one of them, and arrives once.
func TestManyRelays(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqltest.DB) {
		s := newSite(t, db, nil)
		for range 3 {
			inBackground(t, s.outbox(t, s.App).Run)
		}
		var ids []string
		for i := range 50 {
			some := []string{fmt.Sprint(i, " 0"), fmt.Sprint(i, " 1"), fmt.Sprint(i, " 2")}
			ids = append(ids, some...)
			s.publish(t, some...)
		}
		s.await(t, ids...)
		eventually(t, "the rows are deleted", func() bool { return s.isEmpty(t) })
	})
}

// TestWhatTheEngineRefusesIsSetAside: it holds up nobody, is logged and kept, and
// can be put back.
func TestWhatTheEngineRefusesIsSetAside(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqltest.DB) {
		s := newSite(t, db, &toot.Options{MaxEventBytes: 10_000})
		s.engine.Play(func(c faultengine.Call) faultengine.Fault {
			for _, j := range c.Jobs {
				if j.Event.ID == "refused" {
					return faultengine.Fault{Err: fmt.Errorf("%w: not this one", engine.ErrInvalid)}
				}
			}
			return faultengine.Fault{}
		})
		roomy := newSite(t, db, nil) // writes what s does not take
		tx := begin(t, db.DB)
		for i := range 10 {
			publishIn(t, s.box, tx, fmt.Sprint(i))
		}
		publishIn(t, s.box, tx, "refused")
		_, err := roomy.box.PublishAll(t.Context(), tx, toot.Message{Channel: "a", ID: "large", Payload: strings.Repeat("x", 20_000)})
		must(t, err)
		publishIn(t, s.box, tx, "10")
		must(t, tx.Commit())
		stop := s.relay(t)
		s.await(t, "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10")
		eventually(t, "the rows are deleted", func() bool { return s.isEmpty(t) })
		stop()

		list, err := s.box.ListSetAside(t.Context(), 0, 10)
		must(t, err)
		if len(list) != 2 || list[0].ID != "refused" || !strings.Contains(list[0].Reason, "not this one") || list[1].ID != "large" ||
			list[1].Channel != "a" || len(list[1].Body) < 20_000 || time.Since(list[1].At).Abs() > time.Hour {
			t.Fatalf("set aside is %.300s", fmt.Sprint(list))
		}
		if rest, err := s.box.ListSetAside(t.Context(), list[0].N, 10); err != nil || len(rest) != 1 {
			t.Errorf("after the first there are %d, %v", len(rest), err)
		}
		if stats, err := s.box.Stats(t.Context()); err != nil || stats.SetAside != 2 {
			t.Errorf("%+v, %v", stats, err)
		}
		if warnings := strings.Count(s.log.String(), "level=WARN"); warnings != 2 {
			t.Errorf("%d warnings: %s", warnings, s.log)
		}
		if n, err := s.box.Discard(t.Context(), list[0].N, 12345); err != nil || n != 1 {
			t.Errorf("discarded %d, %v", n, err)
		}
		if n, err := s.box.PutBack(t.Context(), list[0].N, list[1].N); err != nil || n != 1 {
			t.Errorf("put back %d, %v", n, err)
		}
		roomy.relay(t)
		roomy.await(t, "large")
	})
}

// TestARelaySurvivesAnEngineThatIsAway, and a call of which nobody knows what
// came: the event arrives, and once.
func TestARelaySurvivesAnEngineThatIsAway(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqltest.DB) {
		s := newSite(t, db, &toot.Options{RequestTimeout: time.Second}) // and so short leases
		s.engine.Play(func(c faultengine.Call) faultengine.Fault {
			switch {
			case c.Method != faultengine.Push:
				return faultengine.Fault{}
			case c.N <= 2:
				return faultengine.Fault{Err: faultengine.ErrInjected}
			case c.N <= 4:
				return faultengine.Fault{Late: true, Err: engine.ErrUncertain}
			}
			return faultengine.Fault{}
		})
		s.publish(t, "one", "two")
		stop := s.relay(t)
		s.await(t, "one", "two")
		eventually(t, "the rows are deleted", func() bool { return s.isEmpty(t) })
		stop()
		if text := s.log.String(); strings.Count(text, "can't move events") != 1 || strings.Count(text, "moved again") != 1 {
			t.Errorf("the log says %s", text)
		}
	})
}

// TestAnAppThatIsClosedEndsItsRelay.
func TestAnAppThatIsClosedEndsItsRelay(t *testing.T) {
	s := newSite(t, sqltest.New(t, outbox.SQLite), nil)
	s.publish(t, "one")
	must(t, s.Close())
	if err := s.box.Run(t.Context()); !errors.Is(err, toot.ErrClosed) {
		t.Errorf("%v", err)
	}
	if s.isEmpty(t) {
		t.Error("the event is gone")
	}
}

// TestPublishRefusesWhatTheAppDoes, and sends nothing to the database then.
func TestPublishRefusesWhatTheAppDoes(t *testing.T) {
	s := newSite(t, sqltest.New(t, outbox.SQLite), nil)
	tx := begin(t, s.db.DB)
	for want, m := range map[error]toot.Message{
		toot.ErrInvalidChannel: {},
		toot.ErrInvalidID:      {Channel: "a", ID: "\n"},
		toot.ErrInvalidPayload: {Channel: "a", Payload: func() {}},
		toot.ErrTooLarge:       {Channel: "a", Payload: strings.Repeat("x", 2<<20)},
	} {
		if _, err := s.box.PublishAll(t.Context(), tx, toot.Message{Channel: "a"}, m); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	must(t, tx.Commit())
	if !s.isEmpty(t) {
		t.Error("something was written")
	}
	if _, err := s.box.Publish(t.Context(), s.db.DB, "a", nil); err == nil {
		t.Error("a database passes for a transaction")
	}
	for _, table := range []string{"a b", "a;", "a.b.c", "1a", strings.Repeat("x", 60)} {
		if _, err := outbox.New(s.App, s.db.DB, outbox.SQLite, &outbox.Options{Table: table}); err == nil {
			t.Errorf("a table may be named %q", table)
		}
	}
}

// TestManyLargeEvents: what is in memory is bounded, statements are not too large
// for the server, and all arrive.
func TestManyLargeEvents(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqltest.DB) {
		s := newSite(t, db, nil)
		var messages []toot.Message
		var ids []string
		for i := range 250 {
			size := 10
			if i%20 == 0 {
				size = 900_000
			}
			ids = append(ids, fmt.Sprint(i))
			messages = append(messages, toot.Message{Channel: "a", ID: ids[i], Payload: strings.Repeat("x", size)})
		}
		tx := begin(t, db.DB)
		_, err := s.box.PublishAll(t.Context(), tx, messages...)
		must(t, err)
		must(t, tx.Commit())
		s.relay(t)
		s.await(t, ids...)
	})
}

// TestTheTraceGoesOn, from the transaction to the delivery.
func TestTheTraceGoesOn(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqltest.DB) {
		s := newSite(t, db, &toot.Options{Observer: tracer{}})
		s.publish(t, "one")
		s.relay(t)
		s.await(t, "one")
		if got := s.traces[0]; got != ">prepare>publish>deliver" {
			t.Errorf("the trace is %q", got)
		}
	})
}

// TestAnEventMayBeSentLater: after it was published, not after it was moved.
func TestAnEventMayBeSentLater(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqltest.DB) {
		s := newSite(t, db, nil)
		tx := begin(t, db.DB)
		_, err := s.box.PublishAll(t.Context(), tx, toot.Message{Channel: "a", ID: "tomorrow", After: 24 * time.Hour},
			toot.Message{Channel: "a", ID: "hour ago", After: time.Hour}, toot.Message{Channel: "a", ID: "now"})
		must(t, err)
		must(t, tx.Commit())
		db.Do(t, "UPDATE toot_outbox SET created_ms = created_ms - 3601000 WHERE id = ?", []byte("hour ago"))
		s.relay(t)
		s.await(t, "now", "hour ago")
		eventually(t, "all are moved", func() bool { return s.isEmpty(t) })
		stats, err := s.Stats(t.Context())
		must(t, err)
		if stats.Scheduled != 1 || len(s.got()) != 2 {
			t.Errorf("%+v after %q arrived", stats, s.got())
		}
	})
}

// tracer writes into the header of a trace which steps there were.
type tracer struct{}

func (tracer) Begin(ctx context.Context, s *toot.Step) (context.Context, func(toot.StepResult)) {
	s.Header.Set("Traceparent", s.Header.Get("Traceparent")+">"+string(s.Name))
	return ctx, nil
}

// TestTheRightsThatARoleNeeds are those that docs/transactions.md names.
func TestTheRightsThatARoleNeeds(t *testing.T) {
	db := sqltest.New(t, outbox.Postgres)
	s := newSite(t, db, nil)
	for _, role := range []string{"writer", "relay"} {
		db.Do(t, "DROP ROLE IF EXISTS toot_"+role)
		db.Do(t, "CREATE ROLE toot_"+role+" LOGIN")
	}
	db.Do(t, "GRANT INSERT ON toot_outbox TO toot_writer")
	db.Do(t, "GRANT SELECT, INSERT, UPDATE, DELETE ON toot_outbox, toot_outbox_aside TO toot_relay")
	t.Cleanup(func() {
		for _, role := range []string{"writer", "relay"} {
			_, err := db.ExecContext(context.Background(), "DROP OWNED BY toot_"+role+"; DROP ROLE toot_"+role)
			must(t, err)
		}
	})
	as := func(role string) *outbox.Outbox {
		other := *s
		other.db = &sqltest.DB{DB: db.Open(t, strings.Replace(db.Source, "postgres@", "toot_"+role+"@", 1)), Dialect: db.Dialect}
		return other.outbox(t, s.App)
	}
	writer := as("writer")
	tx := begin(t, db.Open(t, strings.Replace(db.Source, "postgres@", "toot_writer@", 1)))
	publishIn(t, writer, tx, "one")
	_, err := s.box.PublishAll(t.Context(), tx, toot.Message{Channel: "a", ID: "two"})
	must(t, err)
	must(t, tx.Commit())
	db.Do(t, "UPDATE toot_outbox SET body = 'no JSON' WHERE id = ?", []byte("two"))
	relay := as("relay")
	inBackground(t, relay.Run)
	s.await(t, "one")
	eventually(t, "the other is set aside", func() bool {
		stats, err := relay.Stats(t.Context())
		must(t, err)
		return stats.Waiting == 0 && stats.SetAside == 1
	})
	list, err := relay.ListSetAside(t.Context(), 0, 1)
	must(t, err)
	if n, err := relay.PutBack(t.Context(), list[0].N); n != 1 || err != nil {
		t.Error(n, err)
	}
}

// TestTablesAreMadeOnce, by however many at the same time, and by the printed SQL.
func TestTablesAreMadeOnce(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqltest.DB) {
		s := newSite(t, db, nil)
		s.publish(t, "kept")
		db.Do(t, "DROP TABLE toot_outbox_aside")
		db.Do(t, "DROP TABLE toot_outbox")
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if err := s.box.Migrate(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		s.publish(t, "one")
		must(t, s.box.Migrate(t.Context()))
		if s.isEmpty(t) {
			t.Error("a migration has emptied the outbox")
		}
		text, err := outbox.Schema(db.Dialect, "elsewhere")
		must(t, err)
		for range 2 {
			for statement := range strings.SplitSeq(text, ";\n") {
				if strings.TrimSpace(statement) != "" {
					db.Do(t, statement)
				}
			}
		}
		if n := db.Int(t, "SELECT COUNT(*) FROM elsewhere") + db.Int(t, "SELECT COUNT(*) FROM elsewhere_aside"); n != 0 {
			t.Errorf("%d rows", n)
		}
	})
}
