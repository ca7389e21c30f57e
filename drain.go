package toot

import (
	"errors"
	"time"
)

// errStopping is the cause with which the contexts of handlers end when the
// drain timeout is over.
var errStopping = errors.New("toot: the app is being stopped")

// cancelGrace is how long cancelled work is given to return.
const cancelGrace = 5 * time.Second

// beginDrain stops taking jobs in and gives back what was not begun.
func (d *dispatcher) beginDrain() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.draining = true
	d.stopClaims()
	if d.lookTimer != nil {
		d.lookTimer.Stop()
	}
	for _, l := range d.lanes {
		d.release(l)
	}
	d.checkQuiet()
}

// checkQuiet tells drain when the last job is gone. d.mu is held.
func (d *dispatcher) checkQuiet() {
	if d.draining && d.held == 0 && !d.isQuiet {
		d.isQuiet = true
		close(d.quiet)
	}
}

// drain waits for what is under way, until the deadline; then it cancels it.
// It returns the number of jobs it cancelled.
func (d *dispatcher) drain(deadline time.Time) (cancelled int) {
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	var quiet bool
	select {
	case <-d.quiet:
		quiet = true
	case <-timer.C:
		d.mu.Lock()
		for j := d.jobs.first; j != nil; j = j.next {
			if !j.settling {
				cancelled++
			}
		}
		d.mu.Unlock()
		d.cancel(errStopping)
		timer.Reset(cancelGrace)
		select {
		case <-d.quiet:
			quiet = true
		case <-timer.C:
		}
	}
	d.cancel(errStopping)
	d.mu.Lock()
	d.started, d.stopped = false, true
	d.idle = 0
	clear(d.lanes)
	d.mu.Unlock()
	d.parked.Broadcast()
	if quiet {
		d.loops.Wait()
	}
	return cancelled
}
