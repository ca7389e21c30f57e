package coalesce_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/watermarkchurch/toot-go/internal/coalesce"
)

// item is what the tests submit.
type item struct {
	coalesce.Waiter
	name string
	size int
}

func newItem(name string) *item { return &item{Waiter: coalesce.NewWaiter(), name: name, size: 1} }

// recorder keeps what was flushed. Each flush waits until the test lets it go
// on, and fails with err.
type recorder struct {
	flushes [][]string
	proceed chan struct{}
	err     error
}

func (r *recorder) flush(items []*item) {
	var names []string
	for _, i := range items {
		names = append(names, i.name)
	}
	r.flushes = append(r.flushes, names)
	if r.proceed != nil {
		<-r.proceed
	}
	for _, i := range items {
		i.Finish(r.err)
	}
}

func (r *recorder) want(t *testing.T, want ...[]string) {
	t.Helper()
	if !slices.EqualFunc(r.flushes, want, slices.Equal) {
		t.Errorf("flushed %v, want %v", r.flushes, want)
	}
}

func batcher(most int, r *recorder) *coalesce.Batcher[*item] {
	return coalesce.New(most, func(i *item) int { return i.size }, r.flush)
}

func TestAnItemThatFindsNothingElseIsFlushedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		b := batcher(10, r)
		for _, name := range []string{"a", "b"} {
			i := newItem(name)
			if err := b.Do(t.Context(), i, &i.Waiter); err != nil {
				t.Error(err)
			}
		}
		b.Wait()
		r.want(t, []string{"a"}, []string{"b"})
	})
}

func TestWhatComesDuringAFlushSharesTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{proceed: make(chan struct{})}
		b := batcher(10, r)
		b.Submit(newItem("a"))
		synctest.Wait() // a is being flushed
		for _, name := range []string{"b", "c", "d"} {
			b.Submit(newItem(name))
		}
		synctest.Wait()
		r.want(t, []string{"a"})
		close(r.proceed)
		b.Wait()
		r.want(t, []string{"a"}, []string{"b", "c", "d"})
	})
}

func TestAFlushIsNoLargerThanAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{proceed: make(chan struct{})}
		b := batcher(10, r)
		b.Submit(newItem("first"))
		synctest.Wait()
		for _, size := range []int{4, 6, 4, 20, 3, 8} {
			i := newItem(strconv.Itoa(size))
			i.size = size
			b.Submit(i)
		}
		close(r.proceed)
		b.Wait()
		r.want(t, []string{"first"}, []string{"4", "6"}, []string{"4"}, []string{"20"}, []string{"3"}, []string{"8"})
	})
}

func TestACancelledItemIsTakenBackBeforeItsFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{proceed: make(chan struct{})}
		b := batcher(10, r)
		b.Submit(newItem("a"))
		synctest.Wait()
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("no longer wanted")
		result := make(chan error)
		go func() {
			i := newItem("b")
			result <- b.Do(ctx, i, &i.Waiter)
		}()
		synctest.Wait()
		b.Submit(newItem("c"))
		cancel(why)
		if err := <-result; !errors.Is(err, why) {
			t.Errorf("Do returned %v, want the context's cause", err)
		}
		close(r.proceed)
		b.Wait()
		r.want(t, []string{"a"}, []string{"c"})
	})
}

func TestACancelledItemThatIsBeingFlushedIsNotTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{proceed: make(chan struct{})}
		b := batcher(10, r)
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error)
		go func() {
			i := newItem("a")
			result <- b.Do(ctx, i, &i.Waiter)
		}()
		synctest.Wait()
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("Do returned %v, want context.Canceled", err)
		}
		close(r.proceed)
		b.Wait()
		r.want(t, []string{"a"})
	})
}

func TestTheFlushTellsItsResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{err: errors.New("the store is full")}
		b := batcher(10, r)
		i := newItem("a")
		if err := b.Do(t.Context(), i, &i.Waiter); !errors.Is(err, r.err) {
			t.Errorf("Do returned %v, want %v", err, r.err)
		}
	})
}
