package main

import (
	"context"
	"net/http"
	"sync"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
)

// node is an app with its store and its server, as it would run in a process
// of its own. All options are the defaults.
type node struct {
	app    *toot.App
	engine engine.Engine
	server *server
	halt   func() error // ends run
}

const (
	subscriptionsPath = "/subscriptions"
	callbacksPath     = "/callbacks"
)

// newNode makes a node, whose callbacks come through front.
func (s *stage) newNode(ctx context.Context, where store, name string, front func(http.Handler) http.Handler) (*node, error) {
	n := &node{}
	var err error
	if n.engine, err = s.open(ctx, where, name); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	if n.server, err = serve(mux); err != nil {
		return nil, err
	}
	n.app, err = toot.New(n.engine, &toot.Options{ChannelPrefix: prefix, CallbackURL: n.server.url + callbacksPath, Logger: logger})
	if err != nil {
		n.server.close()
		return nil, err
	}
	s.onClose(func() error {
		var err error
		if n.halt != nil {
			err = n.halt()
		}
		n.server.close()
		_ = n.app.Close() // never fails
		return err
	})
	mux.Handle(subscriptionsPath, n.app.SubscriptionsService())
	mux.Handle(callbacksPath, front(n.app.HandlerService()))
	return n, nil
}

// run has the app work until halt.
func (n *node) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.app.Run(ctx) }()
	n.halt = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
}

// publish publishes events from, from+1 … as one user's call would.
func (n *node) publish(ctx context.Context, from, count, extra int) error {
	if count == 1 {
		_, err := n.app.Publish(ctx, channel, payload(from, extra))
		return err
	}
	messages := make([]toot.Message, count)
	for i := range messages {
		messages[i] = toot.Message{Channel: channel, Payload: payload(from+i, extra)}
	}
	_, err := n.app.PublishAll(ctx, messages...)
	return err
}

// settled reports that the node has nothing left to do.
func (n *node) settled(ctx context.Context) (bool, error) {
	stats, err := n.app.Stats(ctx)
	return stats.Waiting+stats.InFlight+stats.Dead == 0, err
}

// unchanged leaves a handler as it is.
func unchanged(h http.Handler) http.Handler { return h }

// onePerPOST hides that the endpoint takes batches, as one written in another
// language would not have said so.
func onePerPOST(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(withoutOffer{w}, r) })
}

type withoutOffer struct{ http.ResponseWriter }

func (w withoutOffer) WriteHeader(status int) {
	w.Header().Del("X-Toot-Batch")
	w.ResponseWriter.WriteHeader(status)
}
