package exactlyonce

import (
	"context"
	"fmt"
	"time"

	"github.com/watermarkchurch/toot-go/engine/anyengine"
)

// drain ends the transfers, lets what is on its way arrive, undisturbed, and
// ends all processes in an orderly way.
func (r *run) drain(ctx context.Context) error {
	r.note("the end begins")
	for _, p := range r.processes {
		if err := r.stop(p); err != nil {
			return err
		}
	}
	r.processes = nil
	for bank := range r.Banks {
		r.add(bank, relay, subscriber)
	}
	if err := r.startAll(); err != nil {
		return err
	}
	if err := r.awaitArrival(ctx); err != nil {
		return err
	}
	r.note("everything has arrived")
	if err := r.repeat(ctx); err != nil {
		return err
	}
	r.note("some of it was sent again")
	for _, p := range r.processes {
		if err := r.stop(p); err != nil {
			return err
		}
	}
	return nil
}

// repeat sends requests again that the roads have kept, after the banks' engines
// have forgotten them, until an inbox has stopped a duplicate, if one does: so that
// a run shows it.
func (r *run) repeat(ctx context.Context) error {
	for range 10 {
		time.Sleep(forgotten)
		for _, road := range r.roads {
			road.again(50)
		}
		if err := r.awaitArrival(ctx); err != nil {
			return err
		}
		if n, err := tallied(r.Dir); err != nil || n > 0 {
			return err
		}
	}
	return nil
}

// awaitArrival waits until nothing is on its way any more.
func (r *run) awaitArrival(ctx context.Context) error {
	for _, b := range r.Banks {
		if err := awaitMoved(ctx, b); err != nil {
			return err
		}
	}
	// A delivery of the one's becomes a job of the other's: while the second
	// is looked at, the first may get some.
	for _, i := range []int{0, 1, 0} {
		if err := awaitEmpty(ctx, r.Banks[i].Store); err != nil {
			return err
		}
	}
	return nil
}

// awaitMoved waits until there is nothing in a bank's outbox.
func awaitMoved(ctx context.Context, b Bank) error {
	db, err := openDB(b)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	return await("the outbox is empty", func() (bool, error) {
		var left int
		err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM toot_outbox").Scan(&left)
		return left == 0, err
	})
}

// awaitEmpty waits until there is nothing left to do in a store.
func awaitEmpty(ctx context.Context, name string) error {
	s, err := anyengine.Open(ctx, name, nil)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	return await("no job is left", func() (bool, error) {
		lanes, err := s.Lanes(ctx)
		left := 0
		for _, l := range lanes {
			left += l.Waiting + l.Leased
		}
		if left > 0 {
			err = fmt.Errorf("there are %d: %+v", left, lanes)
		}
		return left == 0, err
	})
}
