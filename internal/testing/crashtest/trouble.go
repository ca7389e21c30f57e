package crashtest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/watermarkchurch/toot-go/internal/testing/subprocess"
)

// Trouble is what happens besides kills, as Config.Troubles names it. A run
// counts how often each happened.
type Trouble struct {
	Name string // as it is counted
	// Begin begins it, and End, unless nil, ends it a while later.
	Begin, End func()
}

// leaseSpan is how long the leases of the processes last: twice their
// RequestTimeout.
const leaseSpan = 10 * time.Second

// standstill is a time for which processes could not extend their leases.
type standstill struct {
	processes map[string]bool // by name
	from, to  time.Time
}

// excuses tells that the lease of a process may have run out before a time.
func (s *standstill) excuses(process string, before time.Time) bool {
	return s.processes[process] && before.After(s.from) && s.to.Sub(s.from) > leaseSpan
}

// Under these names the troubles are counted that every run has.
const (
	shortStop = "stops"
	longStop  = "stops longer than a lease"
	looks     = "looks of the command"
)

// pause stops a process where it stands, for some time.
func (r *run) pause(role string, d time.Duration) error {
	p := r.processes[role]
	r.note("%s is stopped for %v", p.name, d)
	s := standstill{processes: map[string]bool{p.name: true}, from: time.Now()}
	if err := subprocess.Suspend(p.cmd.Process); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	time.Sleep(d)
	if err := subprocess.Resume(p.cmd.Process); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	s.to = time.Now()
	if r.SharesLock { // it may have stood still with the lock in hand
		for otherRole, other := range r.processes {
			if receives(otherRole) == receives(role) {
				s.processes[other.name] = true
			}
		}
	}
	r.standstills = append(r.standstills, s)
	return nil
}

// suffer lets something happen that is no kill.
func (r *run) suffer(ctx context.Context, t Trouble) error {
	r.troubles[t.Name]++
	r.note("one of the %s begins", t.Name)
	t.Begin()
	d := time.Duration(100+r.rnd.IntN(1400)) * time.Millisecond
	if t.End != nil {
		defer func() {
			r.note("it ends")
			t.End()
		}()
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// look has the command look at a store, as somebody would on a terminal.
func (r *run) look(ctx context.Context) error {
	questions := [][]string{{"stats", "--json"}, {"dead", "list", "--json"}, {"auth", "list", "--json"}}
	args := questions[r.rnd.IntN(len(questions))]
	store := r.Published
	if r.rnd.IntN(2) == 0 {
		store = r.Received
	}
	if path, file := strings.CutPrefix(store, "sqlite:"); file {
		if _, err := os.Stat(path); err != nil {
			return nil // at the very beginning nobody may have made it yet
		}
	}
	r.troubles[looks]++
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r.note("%v of %s", args, store)
	cmd := exec.CommandContext(ctx, r.Command, append(args, "--store", store)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%v of %s: %w: %s", args, store, err, said.String())
	}
	return nil
}
