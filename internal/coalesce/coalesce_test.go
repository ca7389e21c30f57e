package coalesce_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

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
		if err := <-result; !errors.Is(err, why) || errors.Is(err, coalesce.ErrBegun) {
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
		if err := <-result; !errors.Is(err, context.Canceled) || !errors.Is(err, coalesce.ErrBegun) {
			t.Errorf("Do returned %v, want context.Canceled and ErrBegun", err)
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

func TestDoWaitsNoLongerThanItsPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{proceed: make(chan struct{})}
		b := batcher(1, r)
		b.Limit(coalesce.Limits[*item]{Patience: 5 * time.Second})
		began := time.Now()
		results := make(chan error, 3)
		for range 3 { // one is flushed, the others wait behind it
			go func() {
				i := newItem("x")
				results <- b.Do(t.Context(), i, &i.Waiter)
			}()
		}
		begun := 0
		for range 3 {
			err := <-results
			if !errors.Is(err, coalesce.ErrNoAnswer) {
				t.Errorf("Do returned %v, want ErrNoAnswer", err)
			}
			if errors.Is(err, coalesce.ErrBegun) {
				begun++
			}
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("Do waited for %v", took)
		}
		close(r.proceed)
		b.Wait()
		if len(r.flushes) != 1 || begun != 1 {
			t.Errorf("%d items were flushed, and of %d it was said that they may yet take effect; want one", len(r.flushes), begun)
		}
	})
}

func TestWhatWaitsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{proceed: make(chan struct{})}
		b := batcher(100, r)
		b.Limit(coalesce.Limits[*item]{Items: 3, Bytes: 10, BytesOf: func(i *item) int { return i.size }})
		results := make(chan error, 10)
		do := func(size int) {
			i := newItem("x")
			i.size = size
			go func() { results <- b.Do(t.Context(), i, &i.Waiter) }()
			synctest.Wait()
		}
		refused := func(what string) {
			t.Helper()
			select {
			case err := <-results:
				if !errors.Is(err, coalesce.ErrFull) {
					t.Errorf("%s: Do returned %v, want ErrFull", what, err)
				}
			default:
				t.Errorf("%s: it waits", what)
			}
		}
		do(50) // alone, it may be as large as it likes
		do(1)
		refused("too many bytes")
		close(r.proceed)
		if err := <-results; err != nil {
			t.Error(err)
		}
		b.Wait()
		r.proceed = make(chan struct{})
		for range 3 {
			do(2)
		}
		do(1)
		refused("too many items")
		close(r.proceed)
		b.Wait()
		for range 3 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		do(10) // all room is free again
		b.Wait()
		if err := <-results; err != nil {
			t.Error(err)
		}
	})
}
