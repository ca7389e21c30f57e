package toot_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine/memengine"
	"github.com/watermarkchurch/toot-go/internal/testing/faultengine"
)

const storePatience = 5 * time.Second // of Publish and callbacks

func TestPublishWaitsFiveSecondsForAStoreThatHangs(t *testing.T) {
	inBubble(t, func(b *bubble) {
		b.net.serve("peer", &far{})
		p := b.publisher(toot.Options{}, memengine.NewStore(), "peer")
		p.engine.Play(faultengine.Stuck(faultengine.Push, faultengine.Subscribers))
		began := time.Now()
		var calls sync.WaitGroup
		for i := range 100 {
			calls.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				began := time.Now()
				_, err := p.Publish(context.Background(), "a", nil)
				if took := time.Since(began); err == nil || took > storePatience {
					b.Errorf("Publish returned after %v: %v", took, err)
				}
			})
		}
		calls.Go(func() { // the caller's own context ends first
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_, err := p.Publish(ctx, "a", nil)
			if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != time.Second {
				b.Errorf("Publish returned after %v: %v", took, err)
			}
		})
		calls.Wait()
		p.engine.Play(nil)
		_, err := p.Publish(b.Context(), "a", nil)
		must(b, err)
	})
}

func TestAnErrorSaysWhetherAnythingWasPublished(t *testing.T) {
	for name, tc := range map[string]struct {
		script    faultengine.Script
		uncertain bool
		text      string
	}{
		"the store refuses":      {faultengine.Down(faultengine.Push), false, "nothing was published"},
		"its answer is lost":     {faultengine.Deaf(faultengine.Push), true, "safe to publish it again under the same ID (one)"},
		"its answer never comes": {faultengine.Only(faultengine.Fault{Late: true, Hang: true}, faultengine.Push), true, "safe to publish it again under the same ID (one)"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bubble) {
				var got runs
				p := b.pair(toot.Options{}, &got)
				p.publisher.engine.Play(tc.script)
				events, err := p.publisher.PublishAll(b.Context(), toot.Message{Channel: "a", ID: "one"})
				if errors.Is(err, toot.ErrUncertain) != tc.uncertain || !strings.Contains(fmt.Sprint(err), tc.text) || len(events) == 1 != tc.uncertain {
					b.Errorf("%v, %v", events, err)
				}
				e, err := p.publisher.Publish(b.Context(), "a", nil)
				if errors.Is(err, toot.ErrUncertain) != tc.uncertain || (e != nil) != tc.uncertain {
					b.Errorf("%v, %v", e, err)
				}
				p.publisher.engine.Play(nil)
				_, err = p.publisher.PublishAll(b.Context(), toot.Message{Channel: "a", ID: "one"})
				must(b, err)
				b.empty(time.Minute, p.sent, p.received)
				got.once(b, []string{"one"})
				p.stop()
			})
		})
	}
}

func TestWhatWaitsForTheStoreIsBounded(t *testing.T) {
	for name, tc := range map[string]struct {
		calls   int
		payload string // of the event, which all of them publish
	}{
		"calls": {10_000, ""},
		"bytes": {64, strings.Repeat("x", 1<<20-200)},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bubble) {
				b.net.serve("peer", &far{})
				p := b.publisher(toot.Options{}, memengine.NewStore(), "peer")
				p.engine.Play(faultengine.Stuck(faultengine.Push, faultengine.Subscribers))
				_, prepared, err := p.Prepare(b.Context(), toot.Message{Channel: "a", Payload: tc.payload})
				must(b, err)
				var calls sync.WaitGroup
				for range tc.calls {
					calls.Go(func() {
						if err := p.PublishPrepared(b.Context(), prepared...); err == nil || errors.Is(err, toot.ErrBusy) {
							b.Errorf("one of those that may wait: %v", err)
						}
					})
				}
				synctest.Wait()
				began := time.Now()
				_, err = p.Publish(b.Context(), "a", strings.Repeat("x", 100_000))
				if took := time.Since(began); !errors.Is(err, toot.ErrBusy) || errors.Is(err, toot.ErrUncertain) || took > 0 {
					b.Errorf("one too many: after %v: %v", took, err)
				}
				calls.Wait()
				p.engine.Play(nil)
				synctest.Wait()
				_, err = p.Publish(b.Context(), "a", nil)
				must(b, err)
			})
		})
	}
}

func TestCallbacksWhileTheStoreIsAwayAreAnsweredSoon(t *testing.T) {
	inBubble(t, func(b *bubble) {
		var got runs
		store := memengine.NewStore()
		s := b.launch("subscriber", store, toot.Options{}, subscribes(b, &got))
		post := func(id string) (detail string, took time.Duration) {
			began := time.Now()
			req, err := http.NewRequestWithContext(b.Context(), "POST", "http://subscriber/callbacks", strings.NewReader(`{"id":"`+id+`","channel":"a"}`))
			must(b, err)
			res, err := b.net.RoundTrip(req)
			must(b, err)
			text, err := io.ReadAll(res.Body)
			must(b, err)
			if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
				b.Errorf("%s: answered %s", id, res.Status)
			}
			return string(text), time.Since(began)
		}
		const nothing, unknown = "Nothing was stored", "it is not known whether this was stored"
		for _, tc := range []struct {
			id     string
			script faultengine.Script
			want   string
		}{
			{"down", faultengine.Down(faultengine.Push), nothing},
			{"deaf", faultengine.Deaf(faultengine.Push), unknown},
			{"stuck", faultengine.Stuck(faultengine.Push), unknown},
		} {
			s.engine.Play(tc.script)
			if detail, took := post(tc.id); !strings.Contains(detail, tc.want) || took > storePatience {
				b.Errorf("%s: after %v: %s", tc.id, took, detail)
			}
		}
		var calls sync.WaitGroup
		for i := range 10_000 {
			calls.Go(func() { post(fmt.Sprint(i)) })
		}
		synctest.Wait()
		if detail, took := post("one too many"); !strings.Contains(detail, nothing) || took > 0 {
			b.Errorf("after %v: %s", took, detail)
		}
		calls.Wait()
		s.engine.Play(nil)
		b.empty(time.Minute, store)
		s.stop()
	})
}
