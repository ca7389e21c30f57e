package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
)

const channel = "orders.placed.v1"

// prefix is the publisher's. On a Redis server that others use, too, the
// names of channels are everybody's, hence the namespace.
func (s *site) prefix() string { return s.state.Namespace + "." }

// process is an app as it would run in a process of its own.
type process struct {
	app      *toot.App
	server   *http.Server
	listener net.Listener
	cancel   context.CancelFunc
	ended    chan error
	once     sync.Once
	err      error
}

func newProcess(e engine.Engine, o toot.Options, l net.Listener) (*process, error) {
	app, err := toot.New(e, &o)
	if err != nil {
		return nil, err
	}
	return &process{app: app, listener: l}, nil
}

func (p *process) serve(h http.Handler) {
	p.server = &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = p.server.Serve(p.listener) }()
}

func (p *process) start() {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.ended = cancel, make(chan error, 1)
	go func() { p.ended <- p.app.Run(ctx) }()
}

// stop finishes what is in flight and closes the app.
func (p *process) stop() error {
	p.once.Do(func() {
		if p.cancel != nil {
			p.cancel()
			p.err = <-p.ended
		}
		// Connections that the other app keeps open would hold Shutdown up.
		p.err = errors.Join(p.err, p.server.Close(), p.app.Close())
	})
	return p.err
}

func (p *process) url(path string) string { return "http://" + p.listener.Addr().String() + path }

// publisher is the app that has something to tell.
type publisher struct {
	*process
	ledger *ledger
}

func newPublisher(d *course) (*publisher, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	transport.DialContext = d.site.dial
	transport.MaxIdleConnsPerHost = 64
	o := toot.Options{
		ChannelPrefix: d.site.prefix(),
		Client:        &http.Client{Transport: transport},
		Observer:      &publisherObserver{d},
	}
	d.hurry(&o)
	p, err := newProcess(d.site.publisher, o, d.site.subscriptions)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/subscriptions", p.app.SubscriptionsService())
	p.serve(mux)
	return &publisher{p, d.ledger}, nil
}

// publish publishes the events from, from+1 … to-1 of this run in one step.
func (p *publisher) publish(ctx context.Context, from, to int) error {
	messages := make([]toot.Message, 0, to-from)
	ids := make([]eventID, 0, to-from)
	for n := from; n < to; n++ {
		id := eventID{p.ledger.run, n}
		payload := strconv.AppendInt([]byte(`{"order":`), int64(n+1), 10)
		payload = append(payload, `,"total":"49.90","currency":"USD","placed_by":"ada@example.org"}`...)
		ids = append(ids, id)
		messages = append(messages, toot.Message{Channel: channel, Payload: json.RawMessage(payload), ID: id.String()})
	}
	if _, err := p.app.PublishAll(ctx, messages...); err != nil {
		return err
	}
	return p.ledger.markPublished(ids)
}

// subscriber is the app that wants to know.
type subscriber struct{ *process }

func newSubscriber(d *course) (*subscriber, error) {
	o := toot.Options{
		CallbackURL: "http://" + d.site.state.Callback + "/callbacks",
		Observer:    &subscriberObserver{d},
	}
	d.hurry(&o)
	p, err := newProcess(d.site.subscriber, o, d.site.callbacks)
	if err != nil {
		return nil, err
	}
	source := toot.Source{SubscriptionURL: "http://" + d.site.subscriptions.Addr().String() + "/subscriptions", ChannelPrefix: d.site.prefix()}
	if err := p.app.AddSource("publisher", source); err != nil {
		return nil, err
	}
	if err := p.app.AddSubscription(toot.Subscription{Source: "publisher", Channel: channel, Handler: d.handler(), Concurrency: 64}); err != nil {
		return nil, err
	}
	callbacks := p.app.HandlerService()
	if d.faults != nil {
		callbacks = d.faults.endpoint(callbacks)
	}
	mux := http.NewServeMux()
	mux.Handle("/callbacks", callbacks)
	p.serve(mux)
	return &subscriber{p}, nil
}

// register tells the publisher over HTTP where to send its events.
func (s *subscriber) register(ctx context.Context) error {
	if err := s.app.RegisterSubscriptions(ctx); err != nil {
		return fmt.Errorf("registering the subscription: %w", err)
	}
	return nil
}

// handler is the subscriber's: all it does is to tell that it was run.
func (d *course) handler() toot.Handler {
	return toot.HandlerFunc(func(_ context.Context, e *toot.Event) error {
		id, ok := parseID(e.ID)
		if !ok {
			return toot.Permanent(fmt.Errorf("event %q is not one of the demo's", e.ID))
		}
		if d.faults != nil {
			if err := d.faults.handle(id); err != nil {
				return err
			}
		}
		return d.ledger.markHandled(id)
	})
}
