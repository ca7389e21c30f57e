package lanes

import (
	"errors"
	"time"
)

// ErrStopping is the cause with which tries are cancelled once the time to
// drain is over.
var ErrStopping = errors.New("toot: the app is being stopped")

// cancelGrace is how long cancelled work is given to return.
const cancelGrace = 5 * time.Second

// beginDrain stops taking jobs in and gives back what was not begun with. It
// reports whether there was anything to end.
func (p *Pool) beginDrain() bool {
	var e effects
	p.mu.Lock()
	if p.state != running {
		p.mu.Unlock()
		return false
	}
	p.state = draining
	p.stopClaims()
	if p.lookTimer != nil {
		p.lookTimer.Stop()
		p.lookTimer = nil
	}
	for _, l := range p.lanes {
		p.returnQueuedLocked(l, &e)
	}
	p.checkQuietLocked()
	p.mu.Unlock()
	e.perform(p.group)
	return true
}

// checkQuietLocked tells drain when the last job is gone.
func (p *Pool) checkQuietLocked() {
	if p.state == draining && p.room.held == 0 {
		p.state = quiet
		close(p.isQuiet)
	}
}

// drain waits for what is under way, until the deadline; then it cancels it.
// It returns the number of jobs it cancelled.
func (p *Pool) drain(deadline time.Time) (cancelled int) {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	wentQuiet := false
	select {
	case <-p.isQuiet:
		wentQuiet = true
	case <-timer.C:
		cancelled = p.countUnsettled()
		p.cancel(ErrStopping)
		timer.Reset(cancelGrace)
		select {
		case <-p.isQuiet:
			wentQuiet = true
		case <-timer.C:
		}
	}
	p.cancel(ErrStopping)
	p.stop()
	if wentQuiet {
		p.loops.Wait()
	}
	return cancelled
}

func (p *Pool) countUnsettled() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for j := p.jobs.first; j != nil; j = j.next {
		if !j.isSettled() {
			n++
		}
	}
	return n
}

// stop ends the workers.
func (p *Pool) stop() {
	p.mu.Lock()
	p.state = idle
	p.workers.busy += p.workers.idle // until they have noticed
	p.workers.idle = 0
	clear(p.lanes)
	clear(p.endpoints)
	clear(p.sites)
	p.mu.Unlock()
	p.workers.parked.Broadcast()
}
