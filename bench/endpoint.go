package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// endpoint is a bare receiver, for rows that are about the publisher's side:
// it counts what arrives, and answers 200. Its URLs end in their number, from
// 0 to urls-1.
type endpoint struct {
	urls    int
	arrive  func(n int)
	buffers sync.Pool
}

func (e *endpoint) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	buffer, _ := e.buffers.Get().(*[]byte)
	if buffer == nil {
		buffer = new([]byte)
	}
	defer e.buffers.Put(buffer)
	if int64(cap(*buffer)) < r.ContentLength {
		*buffer = make([]byte, r.ContentLength)
	}
	body := (*buffer)[:max(r.ContentLength, 0)]
	if _, err := io.ReadFull(r.Body, body); err != nil {
		return // its sender was stopped
	}
	i, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
	if err != nil {
		i = -1
	}
	e.arrive(number(body)*e.urls + i)
}

// bareReceivers is publish and POST: each event goes to so many subscribers, and
// is counted in deliveries. They are bare endpoints: ten thousand apps with a
// store each don't fit in one process, and what a receiver costs would only hide
// what the publisher does.
func bareReceivers(where store, l load, subscribers int) func(context.Context, *bench, *stage) (sample, error) {
	return func(ctx context.Context, b *bench, s *stage) (sample, error) {
		l := l
		if subscribers > 1 {
			l.window = max(16<<10, 2*subscribers)
		}
		flow := newLoop(l, subscribers)
		receiver, err := serve(&endpoint{urls: subscribers, arrive: flow.arrive})
		if err != nil {
			return sample{}, err
		}
		defer receiver.close()
		n, err := s.newNode(ctx, where, "publisher", unchanged)
		if err != nil {
			return sample{}, err
		}
		group, groupCtx := errgroup.WithContext(ctx)
		group.SetLimit(256)
		for i := range subscribers {
			group.Go(func() error {
				_, err := n.engine.AddSubscriber(groupCtx, prefix+channel, fmt.Sprintf("%s/%d", receiver.url, i), 0)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return sample{}, err
		}
		n.run()
		flow.publish = func(ctx context.Context, from, count int) error { return n.publish(ctx, from, count, 0) }
		flow.settled = n.settled
		return b.steady(ctx, s, flow)
	}
}
