package pgengine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/testing/netfault"
	"github.com/watermarkchurch/toot-go/internal/testing/postgrestest"
)

func job(id, lane string) engine.Job {
	return engine.Job{Event: &engine.Event{ID: id, Channel: "channel", Body: []byte("{}")}, Lane: deliver(lane)}
}

// pushed pushes a job under a lease, and returns its ticket.
func pushed(t testing.TB, e *Engine, id string) (engine.Ticket, error) {
	t.Helper()
	j := job(id, "lane")
	j.Lease = time.Hour
	res, err := e.Push(t.Context(), engine.PushRequest{Jobs: []engine.Job{j}})
	if err != nil {
		return "", err
	}
	return res.Tickets[0], nil
}

// count counts the jobs of the lane.
func count(t testing.TB, e *Engine) (n int) {
	t.Helper()
	lanes, err := e.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lanes {
		n += l.Waiting + l.Leased
	}
	return n
}

// eventually waits until ok says yes.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: still not so after 30 seconds", what)
		}
	}
}

func TestARestartOfTheServerIsKeptFromCallers(t *testing.T) {
	t.Parallel()
	s := postgrestest.Start(t)
	e := open(t, s.Database(t), nil)
	first, err := pushed(t, e, "first")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	stop := make(chan struct{})
	var n atomic.Int64
	go func() {
		for {
			if _, err := pushed(t, e, fmt.Sprint("job ", n.Load())); err != nil {
				done <- err
				return
			}
			n.Add(1)
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
		}
	}()
	eventually(t, "jobs are pushed", func() bool { return n.Load() > 0 })
	s.Restart(t)
	before := n.Load()
	eventually(t, "jobs are pushed again, or a call has failed", func() bool { return n.Load() > before+1 || len(done) > 0 })
	close(stop)
	if err := <-done; err != nil {
		t.Errorf("a call that began before the server was started again failed: %v", err)
	}
	if got := count(t, e); got != int(n.Load())+1 {
		t.Errorf("%d jobs were stored, and %d are there", n.Load()+1, got)
	}
	settled, err := e.Settle(t.Context(), []engine.Outcome{{Ticket: first, Result: engine.Done}})
	if err != nil || !settled[0].OK {
		t.Errorf("a ticket from before the restart is stale: %v, %v", settled, err)
	}
}

func TestAServerThatIsGoneIsNamedAndCertain(t *testing.T) {
	t.Parallel()
	s := postgrestest.Start(t)
	e := open(t, s.Database(t), nil)
	s.Kill()
	eventually(t, "the connections are gone", func() bool { return e.Ping(t.Context()) != nil })
	_, err := pushed(t, e, "job")
	if err == nil || errors.Is(err, engine.ErrUncertain) || !strings.Contains(err.Error(), "connect") {
		t.Errorf("the error is %v", err)
	}
	s.Restart(t)
	eventually(t, "it goes on", func() bool { _, err := pushed(t, e, "job"); return err == nil })
}

// A server that stands still, one that can't be reached any more, and answers that
// get lost: the caller learns soon that the outcome is not known, and doing the same
// again does it once.
func TestWithoutAnAnswerItIsNotKnown(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(*postgrestest.Server, *netfault.Proxy){
		"the server stands still": func(s *postgrestest.Server, _ *netfault.Proxy) { s.Pause() },
		"the network stalls":      func(_ *postgrestest.Server, p *netfault.Proxy) { p.Stall() },
		"answers get lost":        func(_ *postgrestest.Server, p *netfault.Proxy) { p.LoseAnswers() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := postgrestest.Start(t)
			proxy, err := netfault.New(s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer proxy.Close()
			e := open(t, postgrestest.Via(proxy.Addr(), s.Database(t)), nil)
			if _, err := pushed(t, e, "before"); err != nil {
				t.Fatal(err)
			}
			fault(s, proxy)
			if _, err = pushed(t, e, "job"); !errors.Is(err, engine.ErrUncertain) {
				t.Errorf("the error is %v", err)
			}
			if name == "the server stands still" {
				s.Resume()
			}
			proxy.Mend()
			eventually(t, "it goes on", func() bool { _, err := pushed(t, e, "job"); return err == nil })
			if n := count(t, e); n != 2 {
				t.Errorf("%d jobs are there, want 2", n)
			}
		})
	}
}

// An answer that is lost once is no matter to the caller: the push is his, with a
// ticket that works, and so are his outcomes.
func TestAnAnswerThatIsLostIsAskedForAgain(t *testing.T) {
	t.Parallel()
	s := postgrestest.Shared(t)
	proxy, err := netfault.New(s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	url := s.Database(t)
	// One connection, on which what is to be lost has been prepared.
	e, direct := open(t, postgrestest.Via(proxy.Addr(), url)+"&pool_max_conns=1", nil), open(t, url, nil)
	// lost carries out a call whose first answer is lost, once the effect is there.
	lost := func(call func(), took func() bool) {
		t.Helper()
		if err := e.Ping(t.Context()); err != nil { // the connection is there, and the time known
			t.Fatal(err)
		}
		proxy.LoseAnswers()
		returned := make(chan struct{})
		go func() { defer close(returned); call() }()
		eventually(t, "the call takes effect", took)
		proxy.Mend()
		<-returned
	}
	var ticket engine.Ticket
	if _, err := pushed(t, e, "first"); err != nil { // lanes are known, statements prepared
		t.Fatal(err)
	}
	lost(func() { ticket, err = pushed(t, e, "job") }, func() bool { return count(t, direct) == 2 })
	if err != nil || ticket == "" {
		t.Fatalf("a push whose answer was lost: ticket %q, error %v", ticket, err)
	}
	var settled []engine.Settled
	settle := func(o engine.Outcome) {
		o.Ticket = ticket
		settled, err = e.Settle(t.Context(), []engine.Outcome{o})
	}
	settle(engine.Outcome{Result: engine.Extend, After: time.Hour})
	if err != nil || !settled[0].OK {
		t.Fatalf("the ticket of a push whose answer was lost: %v, %v", settled, err)
	}
	ticket = settled[0].Ticket
	if third, err := pushed(t, e, "third"); err != nil {
		t.Fatal(err)
	} else if s, err := e.Settle(t.Context(), []engine.Outcome{{Ticket: third, Result: engine.Done}}); err != nil || !s[0].OK { // this is prepared, too
		t.Fatal(s, err)
	}
	lost(func() { settle(engine.Outcome{Result: engine.Done}) }, func() bool { return count(t, direct) == 1 })
	if err != nil || !settled[0].OK {
		t.Errorf("an outcome whose answer was lost: %v, %v", settled, err)
	}
}

// A COMMIT whose answer is lost, or that never reached the server, is no matter to the
// caller either: each outcome takes effect once, and what it leaves is his.
func TestACommitThatIsCutOffIsMadeOnce(t *testing.T) {
	t.Parallel()
	s := postgrestest.Shared(t)
	for name, fault := range map[string]func(*netfault.Proxy){
		"the answer is lost": (*netfault.Proxy).LoseAnswers, "it never arrives": (*netfault.Proxy).Down,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy, err := netfault.New(s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer proxy.Close()
			url := s.Database(t)
			e, direct := open(t, postgrestest.Via(proxy.Addr(), url)+"&pool_max_conns=1", nil), open(t, url, nil)
			var claims []engine.Ticket
			for i := range 4 {
				ticket, err := pushed(t, e, fmt.Sprint("job ", i))
				if err != nil {
					t.Fatal(err)
				}
				claims = append(claims, ticket)
			}
			cut := make(chan struct{})
			// The transaction is known by a statement that only follow-ups take.
			proxy.When("slane", func() {
				proxy.When("commit", func() {
					fault(proxy)
					time.AfterFunc(50*time.Millisecond, func() { proxy.Cut(); proxy.Mend(); close(cut) })
				})
			})
			leased := job("own", "leased")
			leased.Lease = time.Hour
			settled, err := e.Settle(t.Context(), []engine.Outcome{
				{Ticket: claims[0], Result: engine.Done, Follow: []engine.Job{
					{Lane: deliver("one"), Lease: time.Hour}, {Lane: deliver("two"), Lease: time.Hour}, {Lane: deliver("free")}, leased,
				}},
				{Ticket: claims[1], Result: engine.Extend, After: 2 * time.Hour, Follow: []engine.Job{{Lane: deliver("three"), Lease: time.Hour}}},
				{Ticket: claims[2], Result: engine.Retry, After: time.Hour, Attempt: 1},
				{Ticket: "none", Result: engine.Done, Follow: []engine.Job{{Lane: deliver("never"), Lease: time.Hour}}},
				{Ticket: claims[3], Result: engine.Done},
			})
			if err != nil {
				t.Fatal(err)
			}
			select {
			case <-cut:
			default:
				t.Error("nothing was cut off")
			}
			for i, s := range settled {
				if s.OK != (i != 3) {
					t.Errorf("the outcome %d: %v", i, s.OK)
				}
			}
			if n := count(t, direct); n != 7 {
				t.Errorf("there are %d jobs, want 7", n)
			}
			var outcomes []engine.Outcome
			for _, ticket := range []engine.Ticket{settled[0].Follow[0], settled[0].Follow[1], settled[0].Follow[3], settled[1].Ticket, settled[1].Follow[0]} {
				outcomes = append(outcomes, engine.Outcome{Ticket: ticket, Result: engine.Done})
			}
			if settled[0].Follow[2] != "" || settled[3].Follow[0] != "" {
				t.Error("what is not leased has a ticket")
			}
			if settled, err = e.Settle(t.Context(), outcomes); err != nil {
				t.Fatal(err)
			}
			for i, s := range settled {
				if !s.OK {
					t.Errorf("the ticket %d of a follow-up or an extended claim is stale", i)
				}
			}
			if n := count(t, direct); n != 2 {
				t.Errorf("there are %d jobs, want 2", n)
			}
		})
	}
}

// A timeout of the server's, which an administrator may set for all, ends a
// statement that waits for somebody else. Nothing of the call is left.
func TestStatementTimeoutsAreSaid(t *testing.T) {
	t.Parallel()
	e := open(t, postgrestest.Database(t)+"&statement_timeout=2000", nil)
	ticket, err := pushed(t, e, "job")
	if err != nil {
		t.Fatal(err)
	}
	tx, err := e.begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), e.sql("LOCK TABLE toot.jobs")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err = e.Settle(ctx, []engine.Outcome{{Ticket: ticket, Result: engine.Done}})
	if err == nil {
		t.Error("there was no error")
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the outcome can be given again", func() bool {
		settled, err := e.Settle(t.Context(), []engine.Outcome{{Ticket: ticket, Result: engine.Done}})
		return err == nil && settled[0].OK
	})
}

// Two calls that want the same in another order end each other's wait by a
// deadlock, of which callers learn nothing.
func TestDeadlocksAreKeptFromCallers(t *testing.T) {
	t.Parallel()
	e := open(t, postgrestest.Database(t), nil)
	const rounds, many = 15, 60
	for r := range rounds {
		var there, back []engine.Job
		for i := range many {
			there = append(there, job(time.Duration(r*many+i).String(), "lane"))
		}
		for i := range there {
			back = append(back, there[len(there)-1-i])
		}
		results := make(chan error, 4)
		for i := range 4 {
			jobs := there
			if i%2 == 1 {
				jobs = back
			}
			go func() {
				_, err := e.Push(t.Context(), engine.PushRequest{Jobs: jobs})
				results <- err
			}()
		}
		for range 4 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
	}
	if n := count(t, e); n != rounds*many {
		t.Errorf("%d jobs are there, want %d", n, rounds*many)
	}
}

func TestErrorsTellNoPassword(t *testing.T) {
	t.Parallel()
	s := postgrestest.Shared(t)
	for _, url := range []string{
		"postgres://nobody:secret@" + s.Addr() + "/nothing", "postgres://u:secret@127.0.0.1:1/d", "postgres://u:secret@h:port/d",
		"postgres://u:%zzsecret@h/d", "host=h password=secret port=x", "postgres://u:secret@h/d?sslmode=secret",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := Open(ctx, url, nil)
		cancel()
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", url, err)
		}
	}
}
