package toot

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/coalesce"
)

const (
	// storePatience is how long Publish, and a callback, wait for the store.
	storePatience = 5 * time.Second
	// flushTimeout bounds a write that they share. It ends before the patience
	// of the first of them, so that they hear from the engine what is wrong.
	flushTimeout = storePatience - 500*time.Millisecond
	// maxWaiting and maxWaitingBytes bound the calls that wait for the store,
	// of each half of the app, and the events that they hold.
	maxWaiting      = 10_000
	maxWaitingBytes = 64 << 20
)

// patient returns the context of a write for a request that began to wait for
// the store then: what else it had to wait for counts. It is the request's own
// where that was next to nothing.
func patient(ctx context.Context, began time.Time) (context.Context, context.CancelFunc) {
	spent := time.Since(began)
	if spent < storePatience/50 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, max(storePatience-spent, storePatience/10))
}

// storeLimits bound the calls that wait for the store.
func storeLimits[T any](bytesOf func(T) int) coalesce.Limits[T] {
	return coalesce.Limits[T]{Items: maxWaiting, Bytes: maxWaitingBytes, BytesOf: bytesOf, Patience: storePatience}
}

// storeTrouble is why the store failed last, nil if it works.
type storeTrouble struct{ last atomic.Pointer[error] }

// note notes what came of a write, and returns it as an ErrUncertain if it may
// have taken effect.
func (t *storeTrouble) note(err error) error {
	if err == nil {
		if t.last.Load() != nil {
			t.last.Store(nil)
		}
		return nil
	}
	return t.noteFailure(err)
}

func (t *storeTrouble) noteFailure(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		err = uncertain(err)
	}
	t.last.Store(&err)
	return err
}

// explain makes the error of a call out of that of its coalesce.Batcher.
func (t *storeTrouble) explain(err error) error {
	switch {
	case errors.Is(err, coalesce.ErrFull):
		return t.because(ErrBusy)
	case errors.Is(err, coalesce.ErrNoAnswer):
		late := t.because(fmt.Errorf("the store did not answer within %v", storePatience))
		if errors.Is(err, coalesce.ErrBegun) {
			return uncertain(late)
		}
		return late
	case errors.Is(err, coalesce.ErrBegun):
		return uncertain(err)
	}
	return err
}

// because adds why the store failed last.
func (t *storeTrouble) because(err error) error {
	if last := t.last.Load(); last != nil {
		return fmt.Errorf("%w; before that: %v", err, *last) //nolint:errorlint // what another call met is not what this one returns
	}
	return err
}

// uncertainError is an ErrUncertain with the text of its cause.
type uncertainError struct{ error }

func uncertain(err error) error {
	if errors.Is(err, ErrUncertain) {
		return err
	}
	return uncertainError{err}
}

func (e uncertainError) Unwrap() []error { return []error{ErrUncertain, e.error} }

// bytesOf is how much memory events take.
func bytesOf(events []*engine.Event) (n int) {
	for _, e := range events {
		n += len(e.Body)
	}
	return n
}
