package exactlyonce

import (
	"fmt"
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/internal/testing/netfault"
)

// fault is something that goes wrong in a round.
type fault struct {
	name string // as it is counted
	do   func() error
}

// deck is all faults there are.
func (r *run) deck() []fault {
	var deck []fault
	add := func(name string, do func() error) { deck = append(deck, fault{name, do}) }
	add("process killed", func() error { return r.killAndStart(r.anyProcess()) })
	add("two processes killed", func() error { return r.killAndStart(r.twoProcesses()...) })
	add("all processes killed", func() error { return r.killAndStart(r.processes...) })
	for _, m := range []moment{beforeDebit, afterDebit, beforePush, beforeCredit, afterCredit} {
		add("killed "+string(m), func() error { return r.killDoomed(m, r.shortly()) })
	}
	add("relay killed "+string(afterPush)+", and down for longer than the dedupe window", func() error {
		return r.killDoomed(afterPush, forgotten)
	})
	add("process stopped", func() error {
		d := r.upTo(time.Second)
		if r.random.IntN(2) == 0 { // until another has taken over its jobs
			d += leaseSpan
		}
		return r.suspend(r.anyProcess(), d)
	})
	for _, s := range r.Servers {
		add(s.Name+" killed", func() error {
			r.note("%s is killed", s.Name)
			r.kills++
			s.Kill()
			time.Sleep(r.shortly())
			s.Start()
			return nil
		})
	}
	roads := []*netfault.Proxy{r.roads[0].network, r.roads[1].network}
	ways := slices.Concat(roads, r.Networks)
	add("answers of the other bank lost", func() error { return r.spoil("answers lost", roads, (*netfault.Proxy).LoseAnswers) })
	if len(r.Networks) > 0 {
		add("answers of a server lost", func() error { return r.spoil("answers lost", r.Networks, (*netfault.Proxy).LoseAnswers) })
	}
	for _, f := range []struct {
		name  string
		begin func(*netfault.Proxy)
	}{
		{"network stalled", (*netfault.Proxy).Stall},
		{"network down", (*netfault.Proxy).Down},
		{"connections cut", (*netfault.Proxy).Cut},
	} {
		add(f.name, func() error { return r.spoil(f.name, ways, f.begin) })
	}
	add("old requests sent again", func() error {
		for _, road := range r.roads {
			road.again(20)
		}
		return nil
	})
	return deck
}

// upTo is a random time.
func (r *run) upTo(most time.Duration) time.Duration {
	return time.Duration(r.random.Int64N(int64(most)))
}

// shortly is for how long something is down: often not at all.
func (r *run) shortly() time.Duration {
	return max(0, r.upTo(600*time.Millisecond)-300*time.Millisecond)
}

func (r *run) anyProcess() *process { return r.processes[r.random.IntN(len(r.processes))] }

func (r *run) twoProcesses() []*process {
	order := r.random.Perm(len(r.processes))
	return []*process{r.processes[order[0]], r.processes[order[1]]}
}

// killAndStart kills processes, and starts them again a little later.
func (r *run) killAndStart(several ...*process) error {
	if err := r.kill(several...); err != nil {
		return err
	}
	time.Sleep(r.shortly())
	for _, p := range several {
		if err := r.start(p); err != nil {
			return err
		}
	}
	return nil
}

// killDoomed has a process die at a moment, and starts it again a while later.
func (r *run) killDoomed(m moment, down time.Duration) error {
	bank := r.random.IntN(len(r.Banks))
	for _, p := range r.processes {
		if p.bank != bank || !p.is(m.by()) {
			continue
		}
		if err := r.killAtMoment(p, m); err != nil {
			return err
		}
		time.Sleep(down)
		return r.start(p)
	}
	return fmt.Errorf("nobody is the %s of bank %d", m.by(), bank)
}

// spoil has one of several networks fail for a while.
func (r *run) spoil(what string, several []*netfault.Proxy, begin func(*netfault.Proxy)) error {
	i, d := r.random.IntN(len(several)), 100*time.Millisecond+r.upTo(time.Second)
	r.note("%s for %v (%d of %d)", what, d, i+1, len(several))
	begin(several[i])
	time.Sleep(d)
	several[i].Mend()
	return nil
}
