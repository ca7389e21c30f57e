package toot

import (
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/watermarkchurch/toot-go/internal/outbound"
)

// Options configures an App. The zero value of each field means its default.
type Options struct {
	// ChannelPrefix is put before the channel of every event that this app
	// publishes, such as "org.example.publisher.", with the dot at its end.
	// Default: nothing.
	ChannelPrefix string

	// SubscriptionPrefixes are prefixes of channels, besides ChannelPrefix, on
	// which SubscriptionsService takes registrations, such as those that
	// Message.ChannelPrefix names. "*" stands for any channel whose name is not
	// reserved in the store, as the Ruby original has it. Default: none; an app
	// without a ChannelPrefix takes registrations on any.
	SubscriptionPrefixes []string

	// CallbackURL is the full URL at which HandlerService is mounted, as
	// publishers reach it. RegisterSubscriptions needs it.
	CallbackURL string

	// Client makes every outgoing request, so that its Transport can
	// authorize, log or debug them. Redirects are never followed, whatever
	// its CheckRedirect says. Default, without a Transport too: a pool of
	// connections of its own, fit for MaxDeliveriesPerURL, that takes answers
	// with headers of at most 64 KiB; a Transport that you bring has a
	// MaxResponseHeaderBytes for that (net/http's own default is 10 MiB).
	Client *http.Client

	// WrapTransport, if set, is given the transport that makes the
	// connections and returns the one that requests go through, such as
	// auth.BasicTransport around it. It serves where AllowCallback keeps
	// Client from having a Transport that is not an *http.Transport.
	WrapTransport func(http.RoundTripper) http.RoundTripper

	// AllowCallback says to which callback URLs events may be sent. It is checked
	// when one is registered and whenever a connection is made. Client's Transport
	// must then be an *http.Transport or nil; its DialContext is replaced, and
	// proxies are not used for callbacks. Default: events may be sent to any.
	AllowCallback *CallbackPolicy

	// BaggageHosts are your own hosts, to which the Baggage header of a trace is
	// sent along with its events: "shop.internal" or, for all names under a
	// domain, "*.internal". Traceparent and Tracestate are sent to every host.
	// Default: Baggage is sent to none.
	BaggageHosts []string

	// RequireConsent makes this app ask a callback URL whether it wants a
	// channel's events, by the handshake of the CloudEvents specification for
	// web hooks (OPTIONS), when it is registered, and before the first delivery if
	// it was registered before this was set. HandlerService answers it, so a
	// callback must be served by the time it is registered. Default: nobody is
	// asked.
	RequireConsent bool

	// Origin is the DNS name of this app in that handshake. Default: the host
	// of CallbackURL.
	Origin string

	// RegistrationLease is how long a registration at this app lasts unless it
	// is renewed, which subscribers that use this package do by themselves while
	// they run. Registrations made before this was set do not end. Default: none
	// ends.
	RegistrationLease time.Duration

	// RegisterOnRun makes Run call RegisterSubscriptions when it begins, and
	// again before a registration ends. What fails is tried again after a second,
	// then more and more rarely, at least once a minute, until it succeeds: the
	// app may be started before its publishers, and before what serves the
	// callback URL. Without it, Run renews what RegisterSubscriptions has
	// registered in the same process.
	RegisterOnRun bool

	// RetireSubscriptionsAfter is how long the app's processes go on taking in
	// events for a subscription that none of them has any more, counted from when
	// the last process that had it was seen; see docs/rolling-deploys.md. Give all
	// processes the same value. Default 24 hours.
	RetireSubscriptionsAfter time.Duration

	// RequestTimeout bounds each outgoing request, from dialling to the end
	// of the answer. The lease on a delivery is twice as long, which is how late
	// a delivery may be when a process dies. Default 15 s.
	RequestTimeout time.Duration

	// MaxRetries is how often a delivery or a handler is tried again before
	// it goes to the dead letters. Default 25; negative means never.
	MaxRetries int

	// RetryDelay is how long to wait before retry n (0, 1, 2 …). It may be
	// called concurrently. Default: DefaultRetryDelay.
	RetryDelay func(n int) time.Duration

	// KeepTries is how many of a job's failed tries are kept for inspection: the
	// latest ones, each with its time, status and error. Default 10.
	KeepTries int

	// MaxEventBytes bounds the size of an event as it goes over the wire, in
	// and out, and of every other request body. Default 1 MiB, which is also
	// what other apps accept unless told otherwise.
	MaxEventBytes int

	// MaxIntakeBytes bounds the total size, in bytes, of the request bodies that
	// the services are reading or storing at any moment. A request that does not
	// fit is answered with 503 and Retry-After. Default 64 MiB; negative means no
	// bound. A value below MaxEventBytes counts as MaxEventBytes.
	MaxIntakeBytes int

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
	// when they are not; more than 64 while answers come within 50 ms. However
	// a URL is spelled, it counts as one: what differs in its fragment, its
	// user, the case of its host or a default port shares one bound, and the
	// same circuit. Default 128.
	MaxDeliveriesPerURL int

	// MaxDeliveriesPerHost bounds the POSTs in flight from this process to one
	// host and port. URLs that fail, hang or have not answered yet never take
	// up more than half of them, and no URL more than about a quarter. Default
	// 512, or four times MaxDeliveriesPerURL where that is more.
	MaxDeliveriesPerHost int

	// MaxRatePerURL bounds the POSTs to one callback URL, however it is
	// spelled, in requests per second and process; they are spaced evenly.
	// Default: no bound.
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
	// that keeps failing. Once the endpoint works again, its events wait no longer
	// than that. Default 1 minute.
	ProbeInterval time.Duration

	// MaxRetryAfter caps the Retry-After of an answer. Default 1 hour.
	MaxRetryAfter time.Duration

	// DrainTimeout is how long Run, once its context has ended, waits for
	// what is in flight before it cancels it. Default 25 s.
	DrainTimeout time.Duration

	// Observer, if set, is told of each step in the life of an event.
	Observer Observer

	// Logger receives what an operator should know. Default slog.Default().
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	setDefault(&o.RetireSubscriptionsAfter, 24*time.Hour)
	setDefault(&o.RequestTimeout, 15*time.Second)
	setDefault(&o.MaxEventBytes, 1<<20)
	setDefault(&o.KeepTries, 10)
	setDefault(&o.MaxDeliveries, 2048)
	setDefault(&o.MaxDeliveriesPerURL, 128)
	setDefault(&o.MaxDeliveriesPerHost, max(512, 4*o.MaxDeliveriesPerURL))
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
	if o.MaxIntakeBytes == 0 {
		o.MaxIntakeBytes = 64 << 20
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

// CallbackPolicy says to which callback URLs an App sends. It is applied to
// a URL when it is registered, and to the address itself whenever a
// connection is made: a name that later resolves to another address does not
// get around it, nor does a proxy, as none is used.
//
// A callback is allowed if any of the fields allows it.
type CallbackPolicy struct {
	// Public allows addresses on the public internet: none that is private,
	// loopback, link-local, of a cloud's metadata service, translated,
	// reserved or for documentation, in IPv4 or IPv6.
	Public bool
	// Hosts are host names that are allowed whatever they resolve to, such as those
	// of your own network: "shop.internal" or, for all names under a domain,
	// "*.internal". Patterns match names only: an address, with or without a zone
	// ("[::1%25.internal]"), is judged as an address.
	Hosts []string
	// Networks are addresses that are allowed.
	Networks []netip.Prefix
}

// PublicCallbacks allows addresses on the public internet only.
func PublicCallbacks() *CallbackPolicy { return &CallbackPolicy{Public: true} }

// ErrCallbackNotAllowed is the error of a callback URL that
// Options.AllowCallback does not allow.
var ErrCallbackNotAllowed = outbound.ErrNotAllowed
