package pgengine

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/testing/netfault"
	"github.com/watermarkchurch/toot-go/internal/testing/postgrestest"
)

// The primary dies and its synchronous standby takes over: nothing that was
// acknowledged is lost or comes again, and the engine goes on by itself.
func TestAFailoverToASynchronousStandbyLosesNothing(t *testing.T) {
	t.Parallel()
	primary := postgrestest.Start(t)
	url := primary.Database(t)
	standby := primary.Standby(t)
	e := open(t, primary.Either(standby, url), nil)
	var mu sync.Mutex
	stored, settled := map[string]bool{}, map[string]bool{}
	failed := 0
	counts := func() (s, d, f int) {
		mu.Lock()
		defer mu.Unlock()
		return len(stored), len(settled), failed
	}
	note := func(f func()) {
		mu.Lock()
		defer mu.Unlock()
		f()
	}
	stop := make(chan struct{})
	var working sync.WaitGroup
	for w := range 4 {
		working.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprintf("%d-%d", w, i)
				ticket, err := pushed(t, e, id)
				if err != nil {
					note(func() { failed++ })
					continue
				}
				note(func() { stored[id] = true })
				if i%2 == 1 || ticket == "" {
					continue
				}
				if s, err := e.Settle(t.Context(), []engine.Outcome{{Ticket: ticket, Result: engine.Done}}); err == nil && s[0].OK {
					note(func() { settled[id] = true })
				}
			}
		})
	}
	progress := func(what string) {
		t.Helper()
		before, doneBefore, _ := counts()
		eventually(t, what, func() bool { n, done, _ := counts(); return n > before+20 && done > doneBefore+10 })
	}
	progress("events are stored")
	primary.Kill()
	standby.Promote(t)
	progress("it goes on at the standby")
	close(stop)
	working.Wait()

	left := map[string]bool{}
	rows, err := e.pool.Query(t.Context(), e.sql("SELECT convert_from(id, 'UTF8') FROM toot.jobs"))
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		left[id] = true
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for id := range stored {
		odd := (id[len(id)-1]-'0')%2 == 1 // never to be done
		switch {
		case settled[id] && left[id]:
			t.Errorf("%s was done, and is there again", id)
		case odd && !left[id]:
			t.Errorf("%s was stored, and is lost", id)
		}
	}
	t.Logf("%d were stored, %d done, %d calls failed", len(stored), len(settled), failed)
}

// A disk without room is said at once and for certain; outcomes still take effect, and
// once there is room events are stored again.
func TestADiskThatIsFullIsSaid(t *testing.T) {
	t.Parallel()
	s := postgrestest.StartOnSmallDisk(t)
	e := open(t, s.Database(t), nil)
	defer e.Watch(func(engine.Kind) {})() // as an app does: from here on the engine keeps house
	random := rand.NewChaCha8([32]byte{})
	var tickets []engine.Ticket
	push := func(n int) error {
		jobs := make([]engine.Job, 100)
		for i := range jobs {
			jobs[i] = job(fmt.Sprint(n, " ", i), "lane")
			jobs[i].Lease = time.Hour
			jobs[i].Event.Body = make([]byte, 1500)
			_, _ = random.Read(jobs[i].Event.Body)
		}
		res, err := e.Push(t.Context(), engine.PushRequest{Jobs: jobs})
		if err == nil {
			tickets = append(tickets, res.Tickets...)
		}
		return err
	}
	var err error
	n := 0
	for ; err == nil && n < 1000; n++ {
		err = push(n)
	}
	if err == nil || errors.Is(err, engine.ErrUncertain) || !strings.Contains(err.Error(), "its disk is full") {
		t.Fatalf("after %d calls: %v", n, err)
	}
	for len(tickets) > 0 {
		outcomes := make([]engine.Outcome, min(100, len(tickets)))
		for i := range outcomes {
			outcomes[i] = engine.Outcome{Ticket: tickets[i], Result: engine.Done}
		}
		settled, err := e.Settle(t.Context(), outcomes)
		if err != nil {
			t.Fatalf("outcomes on a full disk: %v", err)
		}
		for _, s := range settled {
			if !s.OK {
				t.Fatal("a ticket is stale")
			}
		}
		tickets = tickets[len(outcomes):]
	}
	if left := count(t, e); left != 0 {
		t.Errorf("%d jobs are left: they were refused, or are done", left)
	}
	// The engine vacuums by itself.
	eventually(t, "there is room again", func() bool { n++; return push(n) == nil })
}

// A transaction that the server ends, since nothing was heard of it for a while, is
// made again.
func TestATransactionThatIsEndedWhileItIdlesIsMadeAgain(t *testing.T) {
	t.Parallel()
	s := postgrestest.Start(t, "idle_in_transaction_session_timeout = 2s")
	proxy, err := netfault.New(s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	e := open(t, postgrestest.Via(proxy.Addr(), s.Database(t))+"&pool_max_conns=1", nil)
	ticket, err := pushed(t, e, "job")
	if err != nil {
		t.Fatal(err)
	}
	said := []byte("terminating connection due to idle-in-transaction timeout")
	ended := make(chan struct{})
	proxy.When("FOR UPDATE OF j", func() { // in a transaction, behind its first statement
		proxy.Stall()
		go func() {
			defer close(ended)
			defer proxy.Mend()
			for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				if log, err := os.ReadFile(filepath.Join(s.Dir(), "log")); err == nil && bytes.Contains(log, said) {
					return
				}
			}
			t.Error("the server has ended no transaction")
		}()
	})
	settled, err := e.Settle(t.Context(), []engine.Outcome{{Ticket: ticket, Result: engine.Retry, After: time.Hour, Attempt: 1}})
	if err != nil || !settled[0].OK {
		t.Errorf("the outcome: %v, %v", settled, err)
	}
	<-ended
	if n := count(t, e); n != 1 {
		t.Errorf("%d jobs are there, want 1", n)
	}
}
