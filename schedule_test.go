package toot_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/memengine"
	"github.com/watermarkchurch/toot-go/internal/testing/faultengine"
)

// far is a peer in the network of a bubble that is not made with this package.
type far struct {
	mu     sync.Mutex
	calls  []time.Time
	ids    map[string]int
	active int
	most   int // calls at once
	answer func(n int, w http.ResponseWriter, r *http.Request)
}

func (f *far) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var e toot.Event
	body := make([]byte, r.ContentLength)
	_, _ = r.Body.Read(body)
	_ = e.UnmarshalJSON(body)
	f.mu.Lock()
	f.calls = append(f.calls, time.Now())
	if f.ids == nil {
		f.ids = map[string]int{}
	}
	f.ids[e.ID]++
	f.active++
	f.most = max(f.most, f.active)
	n, answer := len(f.calls), f.answer
	f.mu.Unlock()
	if answer != nil {
		answer(n, w, r)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.active--
}

func (f *far) set(answer func(n int, w http.ResponseWriter, r *http.Request)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

// seen is when calls came, and how many events they brought.
func (f *far) seen() (calls []time.Time, events int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls, len(f.ids)
}

// atOnce is the most calls that there were at the same time.
func (f *far) atOnce() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.most
}

// forget makes the peer count anew.
func (f *far) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls, f.ids, f.most = nil, nil, 0
}

func answers(code int) func(int, http.ResponseWriter, *http.Request) {
	return func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func hangs(_ int, _ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// publisher starts an app with subscribers of channel "a" on the hosts named.
func (b *bubble) publisher(opts toot.Options, store *memengine.Store, hosts ...string) *process {
	b.Helper()
	p := b.launch("", store, opts, nil)
	for _, host := range hosts {
		must2(p.engine.AddSubscriber(b.Context(), "a", "http://"+host+"/callbacks", 0))
	}
	return p
}

func (p *process) publish(n int, pause time.Duration) {
	p.b.Helper()
	for range n {
		_, err := p.Publish(p.b.Context(), "a", nil)
		must(p.b, err)
		time.Sleep(pause)
	}
}

func TestASubscriberThatWasDownForAnHourGetsEverythingWithinAProbeInterval(t *testing.T) {
	for name, down := range map[string]http.Handler{
		"refuses": nil, "fails": &far{answer: answers(500)}, "hangs": &far{answer: hangs},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bubble) {
				var got runs
				p := b.pair(toot.Options{}, &got)
				p.publish(10, time.Second)
				b.empty(time.Minute, p.sent, p.received)
				up := b.net.At("subscriber")
				b.net.serve("subscriber", down)
				p.publish(360, 10*time.Second) // an hour
				if got.all() != 10 {
					b.Fatalf("%d events were handled", got.all())
				}
				b.net.serve("subscriber", up)
				took := b.within(90*time.Second, "every event handled", func() bool { return got.all() == len(p.acked) })
				// The last probe may have to time out first.
				if most := time.Minute + 15*time.Second; took > most {
					b.Errorf("it took %v, want at most %v", took, most)
				}
				p.stop()
				got.once(b, p.acked)
			})
		})
	}
}

func TestAfterTwentyDaysAndTwentySixTriesAnEventIsInTheDeadLetters(t *testing.T) {
	inBubble(t, func(b *bubble) {
		store := memengine.NewStore()
		peer := &far{answer: answers(422)} // about the event, so that nothing but the schedule counts
		b.net.serve("peer", peer)
		p := b.publisher(toot.Options{}, store, "peer")
		began := time.Now()
		p.publish(1, 0)
		for n := range 26 {
			b.within(10*time.Minute, fmt.Sprintf("try %d", n), func() bool { calls, _ := peer.seen(); return len(calls) == n+1 })
			if n < 25 { // the schedule is in the store: nobody needs to be there until it is time
				p.stop()
				time.Sleep(time.Duration(n*n*n*n) * time.Second)
				p = b.launch("", store, toot.Options{}, nil)
			}
		}
		b.empty(time.Minute, store)
		took := time.Since(began)
		letters, err := p.DeadLetters(b.Context(), engine.DeadQuery{})
		must(b, err)
		calls, _ := peer.seen()
		if len(letters) != 1 || len(calls) != 26 {
			b.Fatalf("%d dead letters after %d tries", len(letters), len(calls))
		}
		if days := took.Hours() / 24; days < 20 || days > 21.5 {
			b.Errorf("it took %.1f days", days)
		}
		for n := range calls[1:] {
			gap := calls[n+1].Sub(calls[n])
			least := time.Duration(n*n*n*n+15) * time.Second
			if most := least + time.Duration(9*(n+1)+1)*time.Second; gap < least || gap > most {
				b.Errorf("retry %d came %v after the try before it, want %v to %v", n, gap, least, most)
			}
		}
		l := letters[0]
		if !strings.Contains(l.Reason, "26 tries") || len(l.Tries) == 0 || l.Tries[len(l.Tries)-1].Status != 422 {
			b.Errorf("dead letter %+v", l)
		}
		// Redriven, it has all its retries again.
		peer.forget()
		peer.set(func(n int, w http.ResponseWriter, _ *http.Request) {
			if n < 3 {
				w.WriteHeader(422)
			}
		})
		if n, err := p.Redrive(b.Context(), l.ID); n != 1 || err != nil {
			b.Fatal(n, err)
		}
		b.empty(time.Hour, store)
		if calls, _ := peer.seen(); len(calls) != 3 {
			b.Errorf("%d calls after the redrive", len(calls))
		}
		p.stop()
	})
}

// A dead endpoint is probed more often than the schedule of an event says, but
// that costs the event none of its tries.
func TestProbesCostNoTries(t *testing.T) {
	inBubble(t, func(b *bubble) {
		store := memengine.NewStore()
		peer := &far{answer: answers(500)}
		b.net.serve("peer", peer)
		p := b.publisher(toot.Options{}, store, "peer")
		p.publish(1, 0)
		time.Sleep(2 * time.Hour) // more than a hundred probes
		if calls, _ := peer.seen(); left(b, store) != 1 || len(calls) < 100 {
			b.Fatalf("the event was given up on after %d calls", len(calls))
		}
		peer.set(nil)
		b.empty(2*time.Minute, store)
		p.stop()
	})
}

func TestRetryAfterIsCapped(t *testing.T) {
	for name, header := range map[string]string{"seconds": "86400", "absurd": "99999999999999999999", "date": "Fri, 31 Dec 9999 23:59:59 GMT"} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bubble) {
				store := memengine.NewStore()
				peer := &far{answer: func(n int, w http.ResponseWriter, _ *http.Request) {
					if n == 1 {
						w.Header().Set("Retry-After", header)
						w.WriteHeader(503)
					}
				}}
				b.net.serve("peer", peer)
				p := b.publisher(toot.Options{MaxRetryAfter: 20 * time.Minute}, store, "peer")
				p.publish(20, time.Second) // the lane waits, not the one event
				b.empty(time.Hour, store)
				calls, events := peer.seen()
				want := 20 * time.Minute
				if name == "absurd" { // unreadable: the schedule counts
					want = 0
				}
				if gap := calls[1].Sub(calls[0]); gap < want || gap > want+5*time.Second && want > 0 {
					b.Errorf("the second call came after %v, want %v", gap, want)
				}
				if events != 20 || len(calls) != 21 {
					b.Errorf("%d calls with %d events", len(calls), events)
				}
				p.stop()
			})
		})
	}
}

// An endpoint that limits its rate answers some requests well while it refuses
// others.
func TestRetryAfterIsNotLiftedByAnswersToOlderRequests(t *testing.T) {
	inBubble(t, func(b *bubble) {
		store := memengine.NewStore()
		peer := &far{}
		b.net.serve("peer", peer)
		p := b.publisher(toot.Options{}, store, "peer")
		p.publish(50, 10*time.Millisecond) // several at once by now
		b.empty(time.Minute, store)
		peer.forget()
		peer.set(func(n int, w http.ResponseWriter, _ *http.Request) {
			if n == 2 {
				w.Header().Set("Retry-After", "600")
				w.WriteHeader(429)
				return
			}
			time.Sleep(100 * time.Millisecond)
		})
		p.publish(8, 0)
		time.Sleep(time.Second)
		p.publish(8, time.Second)
		calls, _ := peer.seen()
		before := len(calls)
		if before > 8 {
			b.Errorf("%d calls within seconds of a Retry-After of ten minutes", before)
		}
		b.empty(time.Hour, store)
		calls, events := peer.seen()
		if wait := calls[before].Sub(calls[1]); wait < 10*time.Minute {
			b.Errorf("called again after %v, not ten minutes", wait)
		}
		if events != 16 {
			b.Errorf("%d events arrived", events)
		}
		p.stop()
	})
}

func TestALongHandlerRunsOnce(t *testing.T) {
	inBubble(t, func(b *bubble) {
		var got runs
		var active, most atomic.Int64
		opts := toot.Options{HandlerTimeout: -1}
		p := b.pair(opts, toot.HandlerFunc(func(ctx context.Context, e *toot.Event) error {
			most.Store(max(most.Load(), active.Add(1)))
			defer active.Add(-1)
			time.Sleep(time.Hour) // hundreds of leases
			if ctx.Err() != nil {
				b.Errorf("the handler was cancelled: %v", context.Cause(ctx))
			}
			return got.HandleEvent(ctx, e)
		}))
		another := b.launch("", p.received, opts, subscribes(b, &got)) // would take over what is due
		p.publish(3, time.Second)
		b.empty(24*time.Hour, p.sent, p.received)
		p.stop()
		another.stop()
		got.once(b, p.acked)
	})
}

func TestADeadEndpointIsProbedWithSingleRequestsEverLessOften(t *testing.T) {
	inBubble(t, func(b *bubble) {
		store := memengine.NewStore()
		peer := &far{}
		b.net.serve("peer", peer)
		p := b.publisher(toot.Options{}, store, "peer")
		p.publish(100, 10*time.Millisecond)
		b.empty(time.Minute, store)
		peer.forget()
		peer.set(answers(500))
		p.publish(100, 10*time.Millisecond)
		time.Sleep(20 * time.Minute)
		calls, _ := peer.seen()
		last := calls[len(calls)-1].Sub(calls[len(calls)-2])
		if last < 48*time.Second || last > 61*time.Second {
			b.Errorf("after 20 minutes probes are %v apart, want about a minute", last)
		}
		// 1, 2, 4, 8, 16, 32 s, then a minute each, each less up to a fifth;
		// before that, what was under way and five failures.
		if n := len(calls); n < 20 || n > 60 {
			b.Errorf("%d calls in 20 minutes", n)
		}
		peer.forget()
		peer.set(hangs)
		time.Sleep(20 * time.Minute)
		calls, _ = peer.seen()
		if n := len(calls); n < 12 || n > 22 {
			b.Errorf("%d probes in 20 minutes that hang for 15 s each", n)
		}
		if most := peer.atOnce(); most != 1 {
			b.Errorf("%d requests at once to an endpoint that is dead", most)
		}
		peer.set(nil)
		b.empty(80*time.Second, store)
		p.stop()
	})
}

func TestTwoProcessesShareADeferral(t *testing.T) {
	inBubble(t, func(b *bubble) {
		store := memengine.NewStore()
		peer := &far{answer: answers(500)}
		b.net.serve("peer", peer)
		one := b.publisher(toot.Options{}, store, "peer")
		one.publish(50, time.Second)
		two := b.launch("", store, toot.Options{}, nil)
		time.Sleep(10 * time.Minute) // the second gets to know the endpoint
		peer.forget()
		time.Sleep(time.Hour)
		if calls, _ := peer.seen(); len(calls) > 2*75 {
			b.Errorf("%d probes by two processes in an hour", len(calls))
		}
		peer.set(nil)
		b.empty(80*time.Second, store)

		// A Retry-After that one was told keeps the other away too.
		peer.forget()
		peer.set(func(n int, w http.ResponseWriter, _ *http.Request) {
			if n == 1 {
				w.Header().Set("Retry-After", "600")
				w.WriteHeader(503)
			}
		})
		one.publish(1, time.Second)
		time.Sleep(5 * time.Minute)
		if calls, _ := peer.seen(); len(calls) != 1 {
			b.Errorf("%d calls", len(calls))
		}
		b.empty(10*time.Minute, store)
		one.stop()
		two.stop()
	})
}

// What an endpoint says about one event must not make it be sent again and
// again.
func TestAnEventThatIsRefusedWhileTheEndpointRecoversIsNotSentInALoop(t *testing.T) {
	inBubble(t, func(b *bubble) {
		store := memengine.NewStore()
		peer := &far{answer: answers(500)}
		b.net.serve("peer", peer)
		p := b.publisher(toot.Options{}, store, "peer")
		p.publish(1, 0)
		time.Sleep(10 * time.Minute)
		peer.forget()
		peer.set(func(n int, w http.ResponseWriter, r *http.Request) {
			if n > 100 {
				hangs(n, w, r) // seen enough
			}
			w.WriteHeader(422)
		})
		time.Sleep(10 * time.Minute)
		if calls, _ := peer.seen(); len(calls) > 20 {
			b.Errorf("it was sent %d times within ten minutes", len(calls))
		}
		p.stop()
	})
}

func TestAHandlersOwnWishesCountAsTries(t *testing.T) {
	inBubble(t, func(b *bubble) {
		var tries atomic.Int64
		p := b.pair(toot.Options{}, toot.HandlerFunc(func(_ context.Context, e *toot.Event) error {
			if n := tries.Add(1); e.Attempt != int(n) {
				b.Errorf("try %d is told that it is number %d", n, e.Attempt)
				return nil
			}
			return toot.RetryAfter(time.Second, errors.New("not yet"))
		}))
		p.publish(1, 0)
		b.empty(time.Hour, p.sent, p.received)
		if tries.Load() != 26 {
			b.Errorf("%d tries, want 26", tries.Load())
		}
		p.stop()
	})
}

// A process that does not run hands its events to one that does, which may
// hear of them late but does hear.
func TestHintsOnlySaveTime(t *testing.T) {
	inBubble(t, func(b *bubble) {
		store := memengine.NewStore()
		peer := &far{}
		b.net.serve("peer", peer)
		idle := b.prepare("", store, toot.Options{}, nil)
		must2(idle.engine.AddSubscriber(b.Context(), "a", "http://peer/callbacks", 0))
		worker := b.launch("", store, toot.Options{}, nil)
		time.Sleep(time.Minute)
		idle.publish(1, 0)
		if took := b.within(time.Minute, "delivered", func() bool { _, n := peer.seen(); return n == 1 }); took > 100*time.Millisecond {
			b.Errorf("with hints it took %v", took)
		}
		worker.engine.Play(faultengine.Down(faultengine.Hint))
		for i := range 10 {
			idle.publish(1, 0)
			took := b.within(time.Minute, "delivered", func() bool { _, n := peer.seen(); return n == i+2 })
			if took > 6*time.Second {
				b.Errorf("without hints it took %v", took)
			}
		}
		idle.stop()
		worker.stop()
	})
}

// Large events in memory must not keep a process from claiming others.
func TestALargeEventThatTakesLongHoldsNobodyUp(t *testing.T) {
	inBubble(t, func(b *bubble) {
		store := memengine.NewStore()
		release := make(chan struct{})
		free := sync.OnceFunc(func() { close(release) })
		defer free()
		stuck, works := &far{answer: func(int, http.ResponseWriter, *http.Request) { <-release }}, &far{}
		b.net.serve("stuck", stuck)
		b.net.serve("works", works)
		writer := b.prepare("", store, toot.Options{RequestTimeout: 10 * time.Minute}, nil)
		must2(writer.engine.AddSubscriber(b.Context(), "large", "http://stuck/callbacks", 0))
		must2(writer.engine.AddSubscriber(b.Context(), "a", "http://works/callbacks", 0))
		_, err := writer.Publish(b.Context(), "large", strings.Repeat("x", 900_000))
		must(b, err)
		p := b.launch("", store, toot.Options{RequestTimeout: 10 * time.Minute}, nil)
		b.within(10*time.Second, "the large event is under way", func() bool { calls, _ := stuck.seen(); return len(calls) == 1 })
		writer.publish(100, 0)
		b.within(30*time.Second, "the others are delivered", func() bool { _, n := works.seen(); return n == 100 })
		free()
		b.empty(time.Minute, store)
		p.stop()
		writer.stop()
	})
}

func TestRunAndCloseAtOnce(t *testing.T) {
	for i := range 50 {
		inBubble(t, func(b *bubble) {
			p := b.prepare("", memengine.NewStore(), toot.Options{}, nil)
			result := make(chan error, 1)
			go func() { result <- p.Run(context.Background()) }()
			if i%2 == 0 {
				synctest.Wait()
			}
			must(b, p.Close())
			if err := <-result; err != nil && !errors.Is(err, toot.ErrClosed) {
				b.Error(err)
			}
		})
	}
}

// Endpoints that worked begin to hang all at once, with much to be sent to each.
func TestEndpointsThatBeginToHangLeaveRoomForTheOthers(t *testing.T) {
	inBubble(t, func(b *bubble) {
		store := memengine.NewStore()
		var hosts []string
		sick, healthy := &far{}, &far{}
		for i := range 60 {
			host := fmt.Sprint("peer", i)
			hosts = append(hosts, host)
			if i%10 == 0 {
				b.net.serve(host, healthy)
			} else {
				b.net.serve(host, sick)
			}
		}
		p := b.publisher(toot.Options{MaxDeliveries: 64}, store, hosts...)
		p.publish(100, time.Millisecond)
		b.empty(time.Minute, store)
		sick.forget()
		sick.set(hangs)
		healthy.forget()
		p.publish(20, 0)
		took := b.within(30*time.Second, "the healthy ones have everything", func() bool { calls, _ := healthy.seen(); return len(calls) == 6*20 })
		if took > time.Second {
			b.Errorf("the healthy ones waited for %v", took)
		}
		time.Sleep(5 * time.Minute) // now they are known to hang
		sick.forget()
		time.Sleep(5 * time.Minute)
		if most := sick.atOnce(); most > 32+4 { // the network hears a little late of what was given up
			b.Errorf("%d of 64 requests at once were to endpoints that hang", most)
		}
		sick.set(nil)
		b.empty(3*time.Minute, store)
		p.stop()
	})
}

// A handler that does not heed its context is seen by Health.
func TestAHandlerThatDoesNotReturnIsReported(t *testing.T) {
	inBubble(t, func(b *bubble) {
		store, release := memengine.NewStore(), make(chan struct{})
		p := b.launch("app", store, toot.Options{HandlerTimeout: time.Minute}, subscribes(b, toot.HandlerFunc(func(context.Context, *toot.Event) error {
			<-release
			return nil
		})))
		must2(p.engine.AddSubscriber(b.Context(), "a", "http://app/callbacks", 0))
		p.publish(1, time.Second)
		b.within(time.Minute, "the handler runs", func() bool { return left(b, store) == 1 })
		if h := p.Health(b.Context()); !h.OK {
			b.Errorf("before its timeout: %v", h)
		}
		time.Sleep(time.Minute + 15*time.Second)
		if h := p.Health(b.Context()); h.OK || len(h.Hung) != 1 || !strings.Contains(h.String(), h.Hung[0]) {
			b.Errorf("after its timeout: %v", h)
		}
		close(release)
		b.empty(time.Minute, store)
		if h := p.Health(b.Context()); !h.OK {
			b.Errorf("once it has returned: %v", h)
		}
	})
}
