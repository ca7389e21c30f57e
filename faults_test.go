package toot_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
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

// pair is a publisher and a subscriber of its channel "a".
type pair struct {
	publisher, subscriber *process
	sent, received        *memengine.Store
	acked                 []string
}

func (b *bubble) pair(opts toot.Options, handlers ...toot.Handler) *pair {
	b.Helper()
	p := &pair{sent: memengine.NewStore(), received: memengine.NewStore()}
	p.publisher = b.launch("publisher", p.sent, opts, nil)
	p.subscriber = b.launch("subscriber", p.received, opts, subscribes(b, handlers...))
	must(b, p.subscriber.RegisterSubscriptions(b.Context()))
	return p
}

// publish publishes n events, with a pause after each, and keeps the IDs of
// those that were acknowledged.
func (p *pair) publish(n int, pause time.Duration) {
	for range n {
		if e, err := p.publisher.Publish(context.Background(), "a", nil); err == nil {
			p.acked = append(p.acked, e.ID)
		}
		time.Sleep(pause)
	}
}

func (p *pair) play(s faultengine.Script) {
	p.publisher.engine.Play(s)
	p.subscriber.engine.Play(s)
}

func (p *pair) stop() {
	p.publisher.stop()
	p.subscriber.stop()
}

func TestAStoreThatFailsNowAndThenLosesAndDoublesNothing(t *testing.T) {
	seeds := uint64(3)
	if long {
		seeds = 20
	}
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			inBubble(t, func(b *bubble) {
				var first, second runs
				p := b.pair(toot.Options{}, &first, &second)
				p.publisher.engine.Play(faultengine.Random(seed, 0.2))
				p.subscriber.engine.Play(faultengine.Random(seed+1000, 0.2))
				for range 10 {
					p.publish(30, 3*time.Millisecond)
					time.Sleep(10 * time.Second)
				}
				p.play(nil)
				b.empty(10*time.Minute, p.sent, p.received)
				p.stop()
				if len(p.acked) < 150 {
					b.Errorf("only %d of 300 events were published", len(p.acked))
				}
				first.once(b, p.acked)
				second.once(b, p.acked)
			})
		})
	}
}

func TestAStoreThatIsAwayForAWhile(t *testing.T) {
	for name, script := range map[string]faultengine.Script{
		"everything fails":    faultengine.Down(),
		"everything hangs":    faultengine.Stuck(),
		"answers get lost":    faultengine.Deaf(),
		"Push fails":          faultengine.Down(faultengine.Push),
		"Push is deaf":        faultengine.Deaf(faultengine.Push),
		"Push hangs":          faultengine.Stuck(faultengine.Push),
		"Claim fails":         faultengine.Down(faultengine.Claim),
		"Claim is deaf":       faultengine.Deaf(faultengine.Claim),
		"Claim hangs":         faultengine.Stuck(faultengine.Claim),
		"Settle fails":        faultengine.Down(faultengine.Settle),
		"Settle is deaf":      faultengine.Deaf(faultengine.Settle),
		"Settle hangs":        faultengine.Stuck(faultengine.Settle),
		"Subscribers fails":   faultengine.Down(faultengine.Subscribers),
		"Defer fails":         faultengine.Down(faultengine.Defer),
		"hints are lost":      faultengine.Down(faultengine.Hint),
		"hints and Push fail": faultengine.Down(faultengine.Hint, faultengine.Push),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bubble) {
				var got runs
				p := b.pair(toot.Options{}, &got)
				p.publish(50, 10*time.Millisecond)
				for range 2 {
					p.publish(20, time.Millisecond) // some are under way when it begins
					p.play(script)
					time.AfterFunc(4*time.Minute, func() { p.play(nil) })
					p.publish(25, 3*time.Second)
					time.Sleep(4 * time.Minute)
					p.play(nil)
					// Claims go on by themselves: what is published now is
					// handled soon, and the rest when its leases and the rest
					// of its lane are over.
					before := len(p.acked)
					p.publish(10, 100*time.Millisecond)
					if len(p.acked) != before+10 {
						b.Errorf("%d of 10 events could be published once the store was back", len(p.acked)-before)
					}
					b.empty(2*time.Minute, p.sent, p.received)
				}
				p.stop()
				got.once(b, p.acked)
			})
		})
	}
}

// TestAProcessThatDiesBetweenTwoSteps lets a process die at each of the first
// calls it makes to its store, before and after the call has taken effect,
// and starts it again.
func TestAProcessThatDiesBetweenTwoSteps(t *testing.T) {
	calls := 4
	if long {
		calls = 8
	}
	for _, who := range []string{"publisher", "subscriber"} {
		for _, method := range []faultengine.Method{faultengine.Push, faultengine.Claim, faultengine.Settle, faultengine.Subscribers} {
			for _, late := range []bool{false, true} {
				for n := 1; n <= calls; n++ {
					name := fmt.Sprintf("%s/%s/late=%v/n=%d", who, method, late, n)
					t.Run(name, func(t *testing.T) {
						inBubble(t, func(b *bubble) { dieBetweenSteps(b, who, method, n, late) })
					})
				}
			}
		}
	}
}

func dieBetweenSteps(b *bubble, who string, method faultengine.Method, n int, late bool) {
	var got runs
	p := b.pair(toot.Options{}, toot.HandlerFunc(func(ctx context.Context, e *toot.Event) error {
		time.Sleep(5 * time.Millisecond)
		return got.HandleEvent(ctx, e)
	}))
	victim := p.publisher
	if who == "subscriber" {
		victim = p.subscriber
	}
	victim.engine.Play(faultengine.Nth(method, victim.engine.Calls(method)+n, faultengine.Fault{Crash: true, Late: late}))
	p.publish(30, 3*time.Millisecond)
	died := victim.engine.Crashed()
	handled := got.all()
	victim.die()
	if who == "publisher" {
		p.publisher = b.launch("publisher", p.sent, toot.Options{}, nil)
	} else {
		p.subscriber = b.launch("subscriber", p.received, toot.Options{}, subscribes(b, &got))
	}
	p.publish(5, time.Millisecond)
	b.empty(5*time.Minute, p.sent, p.received)
	p.stop()
	doubles := 0
	for _, id := range p.acked {
		switch r := got.of(id); {
		case r == 0:
			b.Errorf("event %s was lost", id)
		case r > 1:
			doubles += r - 1
		}
	}
	// Only handlers whose own process died may run again.
	if doubles > 0 && who == "publisher" {
		b.Errorf("%d handlers ran twice though their process lived", doubles)
	}
	if doubles > handled {
		b.Errorf("%d handlers ran twice, but only %d had run when their process died", doubles, handled)
	}
	if n == 1 && !died && method == faultengine.Settle {
		b.Errorf("%s never called %s", who, method)
	}
}

func TestADuplicateRunsNoHandlerTwice(t *testing.T) {
	inBubble(t, func(b *bubble) {
		var got runs
		p := b.pair(toot.Options{}, &got)
		// The subscriber stores each event, but its publisher is not told.
		p.subscriber.engine.Play(faultengine.Deaf(faultengine.Push))
		p.publish(20, time.Second)
		time.Sleep(20 * time.Minute)
		if calls := p.subscriber.engine.Calls(faultengine.Push); calls < 30 {
			b.Errorf("%d calls, want each event to have been sent again", calls)
		}
		p.play(nil)
		b.empty(10*time.Minute, p.sent, p.received)
		p.stop()
		got.once(b, p.acked)
	})
}

func TestACallbackIsRefusedWhileTheStoreIsAway(t *testing.T) {
	inBubble(t, func(b *bubble) {
		var got runs
		store := memengine.NewStore()
		s := b.launch("subscriber", store, toot.Options{}, subscribes(b, &got))
		post := func(id string) *http.Response {
			ctx, cancel := context.WithTimeout(b.Context(), 2*time.Minute)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, "POST", "http://subscriber/callbacks", strings.NewReader(`{"id":"`+id+`","channel":"a"}`))
			must(b, err)
			res, err := b.net.RoundTrip(req)
			must(b, err)
			return res
		}
		for id, script := range map[string]faultengine.Script{
			"down": faultengine.Down(faultengine.Push), "stuck": faultengine.Stuck(faultengine.Push), "deaf": faultengine.Deaf(faultengine.Push),
		} {
			s.engine.Play(script)
			if res := post(id); res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || res.Header.Get("X-Toot-Unsubscribe") != "" {
				b.Errorf("%s: status %d, headers %v", id, res.StatusCode, res.Header)
			}
			s.engine.Play(nil)
			if res := post(id); res.StatusCode != 200 {
				b.Errorf("%s, then mended: status %d", id, res.StatusCode)
			}
		}
		b.empty(2*time.Minute, store)
		s.stop()
		got.once(b, []string{"down", "stuck", "deaf"})
	})
}

func TestStoppingWhileTheStoreIsAway(t *testing.T) {
	for name, script := range map[string]faultengine.Script{
		"fails": faultengine.Down(), "hangs": faultengine.Stuck(), "Settle fails": faultengine.Down(faultengine.Settle),
		"Settle hangs": faultengine.Stuck(faultengine.Settle), "Claim hangs": faultengine.Stuck(faultengine.Claim), "Push hangs": faultengine.Stuck(faultengine.Push),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bubble) {
				var got runs
				slow := toot.HandlerFunc(func(ctx context.Context, e *toot.Event) error {
					time.Sleep(time.Second)
					return got.HandleEvent(ctx, e)
				})
				opts := toot.Options{DrainTimeout: 10 * time.Second}
				p := b.pair(opts, slow)
				p.publish(100, time.Millisecond)
				p.play(script)
				time.Sleep(time.Second)
				began := time.Now()
				p.subscriber.stop()
				p.publisher.stop()
				// Two apps, each with its drain timeout and a moment to tidy up.
				if took := time.Since(began); took > 2*(10*time.Second+6*time.Second) {
					b.Errorf("stopping took %v", took)
				}
				synctest.Wait()
				p.play(nil)
				p.publisher = b.launch("publisher", p.sent, opts, nil)
				p.subscriber = b.launch("subscriber", p.received, opts, subscribes(b, slow))
				b.empty(5*time.Minute, p.sent, p.received)
				p.stop()
				for _, id := range p.acked {
					if got.of(id) == 0 {
						b.Errorf("event %s was lost", id)
					}
				}
			})
		})
	}
}

// TestAStalledWorker: one process stalls, another takes its jobs over.
func TestAStalledWorker(t *testing.T) {
	inBubble(t, func(b *bubble) {
		store := memengine.NewStore()
		var began, ended, cancelled, second runs
		long := toot.HandlerFunc(func(ctx context.Context, e *toot.Event) error {
			_ = began.HandleEvent(ctx, e)
			select {
			case <-ctx.Done():
				if !errors.Is(context.Cause(ctx), toot.ErrLeaseLost) {
					b.Errorf("the context ended with %v", context.Cause(ctx))
				}
				_ = cancelled.HandleEvent(ctx, e)
				return errors.New("too late")
			case <-time.After(10 * time.Minute):
				return ended.HandleEvent(ctx, e)
			}
		})
		sub := func(h toot.Handler) func(*toot.App) {
			return func(app *toot.App) {
				must(b, app.AddSource("publisher", toot.Source{SubscriptionURL: "http://publisher/subscriptions"}))
				must(b, app.AddSubscription(toot.Subscription{Source: "publisher", Channel: "a", Handler: h, Concurrency: 2}))
			}
		}
		stalled := b.launch("one", store, toot.Options{}, sub(long))
		var ids []string
		for i := range 12 {
			ids = append(ids, fmt.Sprint("event-", i))
			req, err := http.NewRequestWithContext(b.Context(), "POST", "http://one/callbacks", strings.NewReader(fmt.Sprintf(`{"id":%q,"channel":"a"}`, ids[i])))
			must(b, err)
			res, err := b.net.RoundTrip(req)
			must(b, err)
			if res.StatusCode != 200 {
				b.Fatal(res.Status)
			}
		}
		b.within(time.Second, "two handlers run", func() bool { return began.all() == 2 })
		stalled.engine.Play(faultengine.Down())
		other := b.launch("", store, toot.Options{}, sub(&second))
		b.within(time.Minute, "the other one takes over", func() bool { return second.all() == 12 })
		time.Sleep(20 * time.Minute) // the first two handlers end; whatever follows them has no lease
		if began.all() != 2 || ended.all() != 2 {
			b.Errorf("%d handlers were begun and %d ended, want 2: a job without a lease was begun", began.all(), ended.all())
		}
		stalled.engine.Play(nil)
		b.empty(time.Minute, store)
		time.Sleep(10 * time.Minute)
		stalled.stop()
		other.stop()
		second.once(b, ids)
	})
}

func TestAHandlerWhoseLeaseIsLostIsTold(t *testing.T) {
	inBubble(t, func(b *bubble) {
		store := memengine.NewStore()
		var begun atomic.Int64
		var second runs
		told := make(chan error, 1)
		first := toot.HandlerFunc(func(ctx context.Context, _ *toot.Event) error {
			begun.Add(1)
			<-ctx.Done()
			told <- context.Cause(ctx)
			return toot.Permanent(errors.New("this outcome must be ignored"))
		})
		stalled := b.launch("one", store, toot.Options{}, subscribes(b, first))
		req, err := http.NewRequestWithContext(b.Context(), "POST", "http://one/callbacks", strings.NewReader(`{"id":"1","channel":"a"}`))
		must(b, err)
		_, err = b.net.RoundTrip(req)
		must(b, err)
		b.within(time.Second, "the handler runs", func() bool { return begun.Load() == 1 })
		stalled.engine.Play(faultengine.Down())
		other := b.launch("", store, toot.Options{}, subscribes(b, toot.HandlerFunc(func(ctx context.Context, e *toot.Event) error {
			time.Sleep(time.Hour)
			return second.HandleEvent(ctx, e)
		})))
		time.Sleep(2 * time.Minute)
		stalled.engine.Play(nil)
		if err := <-told; !errors.Is(err, toot.ErrLeaseLost) {
			b.Errorf("the context ended with %v", err)
		}
		b.empty(2*time.Hour, store)
		stalled.stop()
		other.stop()
		letters, err := store.Open(engine.Retention{}).Dead(b.Context(), engine.DeadQuery{})
		must(b, err)
		if second.all() != 1 || begun.Load() != 1 || len(letters) != 0 {
			b.Errorf("the other handler ran %d times, the first %d times; dead letters: %v", second.all(), begun.Load(), letters)
		}
	})
}

// What a subscriber says of single events of a batch must not be taken for
// success because it did not arrive whole.
func TestABatchWhoseAnswerIsCutOffIsNotTakenForSuccess(t *testing.T) {
	long := `{"results":[{"index":0,"status":503,"detail":"` + strings.Repeat("x", 100_000) + `"}]}`
	for name, answer := range map[string]string{
		"before its first byte": "Content-Length: 100\r\n\r\n",
		"in the middle":         "Content-Length: 100\r\n\r\n" + `{"results":[{"index":0,"st`,
		"no JSON":               "Content-Length: 5\r\n\r\nsorry",
		"too long":              fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(long), long),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var batches atomic.Int64
			var taken sync.Map
			peer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Content-Type") != "application/json" {
					batches.Add(1) // takes nothing
					conn, out, err := w.(http.Hijacker).Hijack()
					if err != nil {
						t.Error(err)
						return
					}
					_, _ = out.WriteString("HTTP/1.1 200 OK\r\nX-Toot-Batch: 100\r\n" + answer)
					_ = out.Flush()
					_ = conn.Close()
					return
				}
				w.Header().Set("X-Toot-Batch", "100")
				body, _ := io.ReadAll(r.Body)
				var e toot.Event
				_ = e.UnmarshalJSON(body)
				taken.Store(e.ID, true)
			}))
			t.Cleanup(peer.Close)
			// What waits before the app runs is sent in batches once the first
			// answer has said that the peer knows them.
			n := newNode(t, toot.Options{RetryDelay: quickRetries, MaxDeliveriesPerURL: 1}, false)
			n.add(t, "a", peer.URL)
			var ids []string
			for range 50 {
				e, err := n.Publish(t.Context(), "a", nil)
				must(t, err)
				ids = append(ids, e.ID)
			}
			n.stop = start(t, n.App)
			n.settled(t)
			if batches.Load() == 0 {
				t.Error("there was no batch")
			}
			for _, id := range ids {
				if _, ok := taken.Load(id); !ok {
					t.Errorf("event %s was lost", id)
				}
			}
		})
	}
}

// A call to the store that never comes back must not take a worker with it.
func TestCallsThatNeverReturnAreGivenUp(t *testing.T) {
	for _, method := range []faultengine.Method{faultengine.Subscribers, faultengine.Push, faultengine.RemoveSubscriber} {
		t.Run(string(method), func(t *testing.T) {
			inBubble(t, func(b *bubble) {
				store := memengine.NewStore()
				peer := &far{}
				var hosts []string
				subscribers := 1100 // a fan-out in two steps
				if method == faultengine.RemoveSubscriber {
					subscribers = 10
				}
				for i := range subscribers {
					hosts = append(hosts, fmt.Sprint("peer", i))
					b.net.serve(hosts[i], peer)
				}
				p := b.publisher(toot.Options{}, store, hosts...)
				n := 2 // the first is of Publish itself
				if method == faultengine.RemoveSubscriber {
					n = 1
					peer.set(func(n int, w http.ResponseWriter, _ *http.Request) {
						if n == 1 {
							w.WriteHeader(410)
						}
					})
				}
				p.engine.Play(faultengine.Nth(method, n, faultengine.Fault{Hang: true}))
				p.publish(1, 0)
				b.empty(3*time.Minute, store)
				p.stop()
				if calls, _ := peer.seen(); len(calls) < len(hosts) {
					b.Errorf("%d of %d subscribers were called", len(calls), len(hosts))
				}
			})
		})
	}
}

// Calls that come together share a write. One that the store can't take fails
// alone, whether it is published or arrives.
func TestAnEventThatNoStoreTakesHoldsUpNoOther(t *testing.T) {
	inBubble(t, func(b *bubble) {
		var got runs
		p := b.pair(toot.Options{}, &got)
		var together atomic.Int64
		refusing := func(c faultengine.Call) faultengine.Fault {
			if c.Method != faultengine.Push {
				return faultengine.Fault{}
			}
			together.Store(max(together.Load(), int64(len(c.Jobs))))
			for _, j := range c.Jobs {
				if strings.HasSuffix(j.Event.ID, "bad") {
					return faultengine.Fault{Err: engine.ErrInvalid}
				}
			}
			return faultengine.Fault{Delay: 10 * time.Millisecond}
		}
		var calls sync.WaitGroup
		concurrently := func(call func(id string, good bool)) {
			for i := range 20 {
				id, good := fmt.Sprintf("%d good", i), i%5 > 0
				if !good {
					id = fmt.Sprintf("%d bad", i)
				}
				calls.Go(func() { call(id, good) })
			}
			calls.Wait()
			if n := together.Swap(0); n < 10 {
				b.Errorf("at most %d jobs were stored together: nothing was shared", n)
			}
		}
		p.publisher.engine.Play(refusing)
		concurrently(func(id string, good bool) {
			_, err := p.publisher.PublishAll(context.Background(), toot.Message{Channel: "a", ID: id})
			if good && err != nil || !good && !errors.Is(err, engine.ErrInvalid) {
				b.Errorf("publishing %s: %v", id, err)
			}
		})
		b.empty(time.Minute, p.sent, p.received)
		if got.all() != 16 {
			b.Errorf("%d events were handled, want 16", got.all())
		}
		p.subscriber.engine.Play(refusing)
		concurrently(func(id string, good bool) {
			body := fmt.Sprintf(`{"id":"arrives %s","channel":"a"}`, id)
			w := httptest.NewRecorder()
			p.subscriber.HandlerService().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)))
			if good && w.Code != http.StatusOK || !good && w.Code != http.StatusServiceUnavailable {
				b.Errorf("%s was answered with %d", id, w.Code)
			}
		})
		b.empty(time.Minute, p.sent, p.received)
		if got.all() != 32 {
			b.Errorf("%d events were handled, want 32", got.all())
		}
		p.stop()
	})
}
