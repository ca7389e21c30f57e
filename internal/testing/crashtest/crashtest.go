// Package crashtest kills the processes of a publisher and a subscriber at
// random moments and starts them again, stops them for a while, has the command
// look at their stores, lets the network and the clock fail, and then accounts
// for every event.
//
// Two processes publish and deliver on the publisher's store, two take in and
// handle on the subscriber's. Each writes down what it does in a file of its
// own, and the files are compared in the end.
package crashtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/watermarkchurch/toot-go/engine/anyengine"
	"github.com/watermarkchurch/toot-go/internal/testing/subprocess"
)

// Config says what to do.
type Config struct {
	Dir string // for files
	// Published and Received name the stores of the publisher and of the
	// subscriber, as anyengine.Open takes them.
	Published, Received string
	Rounds              int    // in each of which something is killed, or other trouble happens
	Seed                uint64 // of all that is random here; the processes' timing is not
	// SharesLock says that a process that stands still may keep others from
	// the store.
	SharesLock bool
	// Clock, unless empty, is a file that says how far the wall clock of the
	// processes is ahead, see SetClock. SQLite's only.
	Clock string
	// Command is the program toot, which looks at the stores.
	Command string
	// Troubles are what else happens in some of the rounds.
	Troubles []Trouble
	// KillStore, if not nil, kills the server of the stores and starts it
	// again. It is done in some of the rounds.
	KillStore func()
	Log       io.Writer
}

// roles are the processes, in the order in which they are started.
var roles = []string{subscriber, handler, worker, publisher}

const (
	publisher  = "publisher"  // publishes, and delivers what it has just published
	worker     = "worker"     // delivers
	subscriber = "subscriber" // takes events in, and handles them
	handler    = "handler"    // handles them
)

// patience is how long what is left may take once nothing is killed any more.
const patience = 2 * time.Minute

// run is a run of Config.
type run struct {
	Config
	rnd       *rand.Rand
	port      int
	processes map[string]*process
	started   int
	killed    map[string]time.Time // processes by name
	rounds    int
	stores    int // times that the store was killed

	troubles    map[string]int // how often, by name
	timeline    []string
	standstills []standstill
}

// receives tells on which of the two stores a role works.
func receives(role string) bool { return role == subscriber || role == handler }

// process is one life of a role.
type process struct {
	name string // role and number
	cmd  *exec.Cmd
	gone chan struct{}
}

// Run kills and counts. The program must call Main first thing in its main
// function, as it is started again with a role to play.
func Run(ctx context.Context, c Config) (Report, error) {
	r := &run{
		Config: c, rnd: rand.New(rand.NewPCG(c.Seed, 1)),
		processes: map[string]*process{}, killed: map[string]time.Time{}, troubles: map[string]int{},
	}
	defer r.killAll()
	var err error
	if r.port, err = subprocess.FreePort(); err != nil {
		return Report{}, err
	}
	for _, role := range roles {
		if err := r.start(role); err != nil {
			return Report{}, err
		}
	}
	for range c.Rounds {
		if err := r.round(ctx); err != nil {
			return Report{}, err
		}
	}
	if err := r.finish(ctx); err != nil {
		return Report{}, err
	}
	return reconcile(r)
}

// round kills something and starts it again, or lets something else happen.
func (r *run) round(ctx context.Context) error {
	select {
	case <-time.After(time.Duration(20+r.rnd.IntN(380)) * time.Millisecond):
	case <-ctx.Done():
		return ctx.Err()
	}
	r.rounds++
	if r.rounds == r.Rounds/2 {
		r.troubles[longStop]++
		return r.pause(handler, leaseSpan+2*time.Second)
	}
	switch n := r.rnd.IntN(8); {
	case n < 2 && len(r.Troubles) > 0:
		return r.suffer(ctx, r.Troubles[r.rnd.IntN(len(r.Troubles))])
	case n == 2:
		r.troubles[shortStop]++
		return r.pause(roles[r.rnd.IntN(len(roles))], time.Duration(r.rnd.IntN(2000))*time.Millisecond)
	case n == 3:
		return r.look(ctx)
	}
	return r.killSome()
}

// note keeps what is about to happen, and when, for a run that fails.
func (r *run) note(format string, args ...any) {
	r.timeline = append(r.timeline, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// killSome kills something and starts it again.
func (r *run) killSome() error {
	victims := []string{roles[r.rnd.IntN(len(roles))]}
	switch n := r.rnd.IntN(20); {
	case n == 0: // the power fails
		victims = roles
	case n < 4: // two at once
		victims = append(victims, roles[r.rnd.IntN(len(roles))])
	case n < 6 && r.KillStore != nil:
		victims = nil
		r.stores++
		r.note("the store is killed")
		r.KillStore()
	}
	victims = slices.Compact(slices.Sorted(slices.Values(victims)))
	for _, role := range victims {
		if err := r.kill(role); err != nil {
			return err
		}
	}
	if r.rnd.IntN(2) == 0 {
		time.Sleep(time.Duration(r.rnd.IntN(200)) * time.Millisecond)
	}
	for _, role := range victims {
		if err := r.start(role); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) start(role string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	r.started++
	p := &process{name: fmt.Sprintf("%s-%d", role, r.started), gone: make(chan struct{})}
	eventsStore := r.Published
	if receives(role) {
		eventsStore = r.Received
	}
	p.cmd = exec.Command(self)
	p.cmd.Env = append(os.Environ(), envRole+"="+role, envStore+"="+eventsStore,
		envPort+"="+strconv.Itoa(r.port), envLedger+"="+r.ledger(p.name), envClock+"="+r.Clock)
	p.cmd.Stdout, p.cmd.Stderr = r.Log, r.Log
	subprocess.DieWithParent(p.cmd)
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.gone)
	}()
	r.processes[role] = p
	r.note("%s is started", p.name)
	return nil
}

func (r *run) ledger(process string) string { return filepath.Join(r.Dir, process+".ledger") }

func (r *run) kill(role string) error {
	p := r.processes[role]
	select {
	case <-p.gone:
		return fmt.Errorf("%s ended by itself: %v", p.name, p.cmd.ProcessState)
	default:
	}
	r.note("%s is killed", p.name)
	r.killed[p.name] = time.Now()
	_ = p.cmd.Process.Kill()
	<-p.gone
	return nil
}

// finish sees that the last publisher publishes, lets the rest be done, and
// ends all processes in an orderly way.
func (r *run) finish(ctx context.Context) error {
	if err := r.waitForEvent(); err != nil {
		return err
	}
	if err := r.stop(publisher); err != nil {
		return err
	}
	for _, name := range []string{r.Published, r.Received} {
		if err := waitUntilEmpty(ctx, name); err != nil {
			return err
		}
	}
	for _, role := range []string{worker, subscriber, handler} {
		if err := r.stop(role); err != nil {
			return err
		}
	}
	return nil
}

// waitForEvent returns when the publisher that runs now has published.
func (r *run) waitForEvent() error {
	p := r.processes[publisher]
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if book, _ := os.ReadFile(r.ledger(p.name)); len(book) > 0 {
			return nil
		}
		select {
		case <-p.gone:
			return fmt.Errorf("%s ended by itself: %v", p.name, p.cmd.ProcessState)
		default:
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s does not publish", p.name)
		}
	}
}

// stop ends a process as an administrator would.
func (r *run) stop(role string) error {
	p := r.processes[role]
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(r.ledger(p.name)); err == nil {
			break // it has begun, and knows what the signal means
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s does not begin", p.name)
		}
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.gone:
	case <-time.After(patience):
		return fmt.Errorf("%s does not stop", p.name)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s ended with %v", p.name, p.cmd.ProcessState)
	}
	return nil
}

func waitUntilEmpty(ctx context.Context, name string) error {
	s, err := anyengine.Open(ctx, name, nil)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		lanes, err := s.Lanes(ctx)
		left := 0
		for _, l := range lanes {
			left += l.Waiting + l.Leased
		}
		switch {
		case err == nil && left == 0:
			return nil
		case time.Now().After(end):
			return errors.Join(fmt.Errorf("after %v there are still %d jobs in %s: %+v", patience, left, name, lanes), err)
		}
	}
}

func (r *run) killAll() {
	for _, p := range r.processes {
		_ = p.cmd.Process.Kill()
		<-p.gone
	}
}
