package main

import (
	"context"
	"net/http"

	"github.com/watermarkchurch/toot-go"
)

// pair is a publisher and a subscriber, each with a store of its own.
type pair struct{ publisher, subscriber *node }

// newPair makes a pair that is subscribed and works. handled is called by the
// handler with the number of each event.
func (s *stage) newPair(ctx context.Context, where store, front func(http.Handler) http.Handler, handled func(n int)) (p pair, err error) {
	if p.publisher, err = s.newNode(ctx, where, "publisher", unchanged); err != nil {
		return p, err
	}
	if p.subscriber, err = s.newNode(ctx, where, "subscriber", front); err != nil {
		return p, err
	}
	app := p.subscriber.app
	if err = app.AddSource("publisher", toot.Source{SubscriptionURL: p.publisher.server.url + subscriptionsPath, ChannelPrefix: prefix}); err != nil {
		return p, err
	}
	err = app.AddSubscription(toot.Subscription{
		Source: "publisher", Channel: channel, Concurrency: handlerConcurrency,
		Handler: toot.HandlerFunc(func(_ context.Context, e *toot.Event) error {
			handled(number(e.Payload))
			return nil
		}),
	})
	if err != nil {
		return p, err
	}
	p.publisher.run()
	p.subscriber.run()
	return p, app.RegisterSubscriptions(ctx)
}

// handlerConcurrency is the subscription's; see Subscription.Concurrency.
const handlerConcurrency = 64

// settled reports that neither side has anything left to do.
func (p pair) settled(ctx context.Context) (bool, error) {
	for _, n := range []*node{p.publisher, p.subscriber} {
		if done, err := n.settled(ctx); !done || err != nil {
			return false, err
		}
	}
	return true, nil
}

// fullLife is the whole life of events: published, durable, sent, durable at
// the receiver, handled, settled on both sides.
func fullLife(where store, l load) func(context.Context, *bench, *stage) (sample, error) {
	return fullLifeOf(where, l, 0)
}

// fullLifeOf is fullLife with payloads that are larger by extra bytes.
func fullLifeOf(where store, l load, extra int) func(context.Context, *bench, *stage) (sample, error) {
	return func(ctx context.Context, b *bench, s *stage) (sample, error) {
		_, flow, err := s.newLife(ctx, where, l, extra)
		if err != nil {
			return sample{}, err
		}
		return b.steady(ctx, s, flow)
	}
}

// newLife makes a pair and the loop that keeps it busy.
func (s *stage) newLife(ctx context.Context, where store, l load, extra int) (pair, *loop, error) {
	flow := newLoop(l, 1)
	front := unchanged
	if l.batch == 1 {
		front = onePerPOST
	}
	p, err := s.newPair(ctx, where, front, flow.arrive)
	flow.publish = func(ctx context.Context, from, n int) error { return p.publisher.publish(ctx, from, n, extra) }
	flow.settled = p.settled
	return p, flow, err
}

// steady measures a loop that has found its pace: connections are open, and
// the publisher knows its endpoints.
func (b *bench) steady(ctx context.Context, s *stage, l *loop) (sample, error) {
	if _, err := l.run(ctx, b.length/5); err != nil {
		return sample{}, err
	}
	return s.measure(ctx, func(ctx context.Context) (int, error) { return l.run(ctx, b.length) })
}
