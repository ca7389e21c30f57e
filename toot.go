package toot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/coalesce"
	"github.com/watermarkchurch/toot-go/internal/h1"
)

// Options configures an App. The zero value of each field means its default.
type Options struct {
	// ChannelPrefix stands before the channel of every event that this app
	// publishes, such as "org.example.publisher.". Default: nothing.
	ChannelPrefix string

	// CallbackURL is the full URL at which HandlerService is mounted, as
	// publishers reach it. RegisterSubscriptions needs it.
	CallbackURL string

	// Client makes every outgoing request, so that its Transport can
	// authorize, log or debug them. Redirects are never followed, whatever
	// its CheckRedirect says. Default: a client of its own with a pool of
	// connections fit for MaxDeliveriesPerURL.
	Client *http.Client

	// WrapTransport, if set, is given the transport that makes the
	// connections and returns the one that requests go through, such as
	// auth.BasicTransport around it. It serves where AllowCallback keeps
	// Client from having a Transport that is not an *http.Transport.
	WrapTransport func(http.RoundTripper) http.RoundTripper

	// AllowCallback says to which callback URLs events may be sent; it is
	// looked at when one is registered and whenever a connection is made.
	// Client's Transport must then be an *http.Transport, or none; its
	// DialContext is replaced, and proxies are not used for callbacks.
	// Default: to any.
	AllowCallback *CallbackPolicy

	// RequireConsent makes this app ask a callback URL whether it wants a
	// channel's events, by the handshake of the CloudEvents specification for
	// web hooks, when it is registered and before the first delivery of those
	// that were there before. HandlerService answers it. Registering then
	// needs the callback to be served. Default: nobody is asked.
	RequireConsent bool

	// Origin is the DNS name of this app in that handshake. Default: the host
	// of CallbackURL.
	Origin string

	// RegistrationLease is how long a registration at this app lasts unless it
	// is renewed, which HandlerService's apps do by themselves while they run.
	// Registrations made before this was set have no end. Default: none has.
	RegistrationLease time.Duration

	// RegisterOnRun makes Run call RegisterSubscriptions when it begins, and
	// again before a registration ends. Without it, Run renews what
	// RegisterSubscriptions has registered in the same process.
	RegisterOnRun bool

	// RequestTimeout bounds each outgoing request, from dialling to the end
	// of the answer. The lease on a delivery is derived from it, so it is
	// also what a delivery may be late by when a process dies. Default 15 s.
	RequestTimeout time.Duration

	// MaxRetries is how often a delivery or a handler is tried again before
	// it goes to the dead letters. Default 25; negative means never.
	MaxRetries int

	// RetryDelay is how long to wait before retry n (0, 1, 2 …). It may be
	// called concurrently. Default: DefaultRetryDelay.
	RetryDelay func(n int) time.Duration

	// KeepTries is how many of a job's failed tries are kept to be looked at,
	// the last ones, each with its time, status and error. Default 10.
	KeepTries int

	// MaxEventBytes bounds the size of an event as it goes over the wire, in
	// and out, and of every other request body. Default 1 MiB, which is also
	// what other apps accept unless told otherwise.
	MaxEventBytes int

	// MaxDepth bounds how deep the JSON of a payload may nest, in and out.
	// Default 512; negative means no bound but that of encoding/json, 10,000.
	// Ruby's default is 100.
	MaxDepth int

	// MaxSubscribersPerChannel bounds the callback URLs of one channel;
	// registrations beyond it are refused. Default 10,000; negative means no
	// bound.
	MaxSubscribersPerChannel int

	// ReadTimeout bounds how long the body of a request to the services may
	// take to arrive, where the http.Server has no ReadTimeout of its own.
	// Default 30 s; negative means no bound.
	ReadTimeout time.Duration

	// MaxDeliveries bounds the POSTs in flight. Endpoints that fail, hang or
	// have not answered yet never take up more than half of them. Default
	// 2,048.
	MaxDeliveries int

	// MaxDeliveriesPerURL bounds the POSTs in flight to one callback URL. How
	// many there are adapts: one at first, more while answers are good, fewer
	// when they are not; more than 64 while answers come within 50 ms.
	// Default 128.
	MaxDeliveriesPerURL int

	// MaxRatePerURL bounds the POSTs to one callback URL, in requests per
	// second and process; they are spaced evenly. Default: no bound.
	MaxRatePerURL float64

	// MaxHandlers bounds the handlers that run at once. Default 256.
	MaxHandlers int

	// HandlerTimeout bounds one run of a handler by its context, for
	// subscriptions that don't set their own. Default 30 minutes; negative
	// means no bound.
	HandlerTimeout time.Duration

	// MaxBacklog is the number of events waiting to be handled from which
	// HandlerService answers 503 with Retry-After, so that publishers keep
	// theirs for a while. It is checked every few seconds, so that somewhat
	// more may get in. Default: no limit.
	MaxBacklog int

	// ProbeInterval is the longest time between two requests to an endpoint
	// that keeps failing, and so the longest that it is back before its
	// events flow again. Default 1 minute.
	ProbeInterval time.Duration

	// MaxRetryAfter caps the Retry-After of an answer. Default 1 hour.
	MaxRetryAfter time.Duration

	// DrainTimeout is how long Run, once its context has ended, waits for
	// what is in flight before it cancels it. Default 25 s.
	DrainTimeout time.Duration

	// Observer, if set, is told of each step of an event's way.
	Observer Observer

	// Logger gets what an operator should know. Default slog.Default().
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	setDefault(&o.RequestTimeout, 15*time.Second)
	setDefault(&o.MaxEventBytes, 1<<20)
	setDefault(&o.KeepTries, 10)
	setDefault(&o.MaxDeliveries, 2048)
	setDefault(&o.MaxDeliveriesPerURL, 128)
	setDefault(&o.MaxHandlers, 256)
	setDefault(&o.ProbeInterval, time.Minute)
	setDefault(&o.MaxRetryAfter, time.Hour)
	setDefault(&o.DrainTimeout, 25*time.Second)
	if o.MaxDepth == 0 {
		o.MaxDepth = 512
	}
	if o.MaxSubscribersPerChannel == 0 {
		o.MaxSubscribersPerChannel = 10_000
	}
	if o.ReadTimeout == 0 {
		o.ReadTimeout = 30 * time.Second
	}
	if o.MaxRetries == 0 {
		o.MaxRetries = 25
	}
	if o.HandlerTimeout == 0 {
		o.HandlerTimeout = 30 * time.Minute
	}
	if o.RetryDelay == nil {
		o.RetryDelay = DefaultRetryDelay
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

func setDefault[T int | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// App is a publisher, a subscriber, or both, on one engine. Its methods may
// be called concurrently.
type App struct {
	engine engine.Engine
	opts   Options
	client *http.Client // for callbacks
	log    *slog.Logger

	sourceClient *http.Client
	signers      signers
	consents     consents
	renewals     renewals
	transports   []*h1.Transport // that are this app's own

	mu       sync.RWMutex // guards what follows
	sources  map[string]Source
	handling map[string][]*Subscription // by channel
	byName   map[string]*Subscription
	use      []Middleware
	closed   bool
	running  bool
	stop     context.CancelFunc // ends Run

	closing   sync.WaitGroup // calls that Close waits for
	publishes *coalesce.Batcher[*publication]
	callbacks *coalesce.Batcher[*arrival]
	settles   *coalesce.Batcher[*settlement]
	deferrals *coalesce.Batcher[deferral]
	settling  context.Context // of the engine's calls that settle; ends when Run gives up on them
	retries   retryPolicy

	backlog backlog

	fanOuts    *dispatcher
	deliveries *dispatcher
	handlers   *dispatcher
}

// New returns an App that keeps what must not be lost in eng, which the
// caller closes after the App. Nil options mean the defaults.
func New(eng engine.Engine, opts *Options) (*App, error) {
	if eng == nil {
		return nil, errors.New("toot: New needs an engine, such as one from sqliteengine.Open")
	}
	if opts == nil {
		opts = &Options{}
	}
	a := &App{
		engine:   eng,
		opts:     opts.withDefaults(),
		sources:  map[string]Source{},
		handling: map[string][]*Subscription{},
		byName:   map[string]*Subscription{},
	}
	a.log = a.opts.Logger
	if a.opts.ChannelPrefix != "" {
		if err := checkChannel(a.opts.ChannelPrefix); err != nil {
			return nil, fmt.Errorf("toot: Options.ChannelPrefix: %w", err)
		}
	}
	if a.opts.CallbackURL != "" {
		if err := checkHTTPURL(a.opts.CallbackURL); err != nil {
			return nil, fmt.Errorf("toot: Options.CallbackURL: %w", err)
		}
	}
	if err := a.newClients(); err != nil {
		return nil, err
	}
	a.signers.store, _ = eng.(engine.Attributes)
	a.renewals.noted = make(chan struct{}, 1)
	if err := a.setOrigin(); err != nil {
		return nil, err
	}
	if a.opts.RegistrationLease > 0 && a.signers.store == nil {
		return nil, fmt.Errorf("%w: Options.RegistrationLease needs one that implements engine.Attributes", ErrUnsupported)
	}
	a.retries = retryPolicy{max: max(a.opts.MaxRetries, 0), delay: a.opts.RetryDelay, keep: a.opts.KeepTries}
	a.publishes = coalesce.New(flushJobs, (*publication).size, a.flushPublications)
	a.callbacks = coalesce.New(flushJobs, (*arrival).size, a.flushArrivals)
	a.settles = coalesce.New(flushJobs, (*settlement).size, a.flushSettlements)
	a.deferrals = coalesce.New(flushJobs, deferral.size, a.flushDeferrals)
	a.fanOuts = newFanOuts(a)
	a.deliveries = newDeliveries(a)
	a.handlers = newHandlers(a)
	return a, nil
}

// enter begins a call that Close waits for; its caller calls closing.Done.
func (a *App) enter() error {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if a.closed {
		return ErrClosed
	}
	a.closing.Add(1)
	return nil
}

// Close ends the App: what is called after it returns ErrClosed, the services
// answer 503. It ends Run and waits for it and for other calls under way. The
// engine stays open; its owner closes it. Closing twice is harmless.
func (a *App) Close() error {
	a.mu.Lock()
	a.closed = true
	if a.stop != nil {
		a.stop()
	}
	a.mu.Unlock()
	a.closing.Wait()
	a.publishes.Wait()
	a.callbacks.Wait()
	a.closeIdle()
	return nil
}

// Run works on this app's events: it delivers what was published and runs the
// handlers of what arrived. It works until ctx ends; then it takes nothing
// new, waits up to Options.DrainTimeout for what is in flight, gives back
// what it had not begun, and returns nil, or an error if something had to be
// cancelled. Nothing is lost either way.
//
// Any number of processes may run on one engine; each of an app's processes
// publishes, whether it runs or not. While the engine is out of reach Run
// keeps trying.
func (a *App) Run(ctx context.Context) error {
	if err := a.enter(); err != nil {
		return err
	}
	defer a.closing.Done()
	a.mu.Lock()
	if a.running {
		a.mu.Unlock()
		return ErrRunning
	}
	if a.closed { // between the two looks
		a.mu.Unlock()
		return ErrClosed
	}
	ctx, a.stop = context.WithCancel(ctx)
	settling, giveUp := context.WithCancel(context.Background())
	a.settling = settling
	a.running = true
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.stop()
		a.running = false
	}()

	all := []*dispatcher{a.fanOuts, a.deliveries, a.handlers}
	for _, d := range all {
		d.start()
	}
	stop := a.engine.Watch(func(kind engine.Kind) {
		for _, d := range all {
			if d.kind == kind {
				d.wake()
			}
		}
	})
	var renewing sync.WaitGroup
	renewing.Go(func() { a.renew(ctx) })
	<-ctx.Done()
	stop()
	renewing.Wait()

	// The order of the path: what one hands on, the next still takes or
	// leaves in the store.
	deadline := time.Now().Add(a.opts.DrainTimeout)
	var cancelled int
	for _, d := range all {
		d.beginDrain()
	}
	for _, d := range all {
		cancelled += d.drain(deadline)
	}
	giveUp()
	a.settles.Wait()
	a.deferrals.Wait()
	if cancelled > 0 {
		return fmt.Errorf("toot: %d jobs were still running after the drain timeout of %v and were cancelled; they will be tried again", cancelled, a.opts.DrainTimeout)
	}
	return nil
}

// checkHTTPURL accepts absolute http and https URLs with a host.
func checkHTTPURL(raw string) error {
	const want = "want an absolute URL such as https://app.example.org/callbacks"
	u, err := url.Parse(raw)
	if err != nil {
		return fmt.Errorf("not a URL (%s)", want) // the parser's error would repeat credentials
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("its scheme is neither http nor https (%s)", want)
	}
	if !utf8.ValidString(raw) || strings.IndexFunc(raw, isControl) >= 0 {
		return errors.New("it has control characters or is not UTF-8")
	}
	if u.Hostname() == "" {
		return fmt.Errorf("it has no host (%s)", want)
	}
	return nil
}
