package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/cmd/toot/internal/config"
	"github.com/watermarkchurch/toot-go/cmd/toot/internal/serve"
	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/anyengine"
	"github.com/watermarkchurch/toot-go/observe/otel"
	"github.com/watermarkchurch/toot-go/observe/prometheus"
)

// serveSettings are what toot serve can be told. docs/server.md has the same
// table.
func serveSettings() []config.Setting {
	return []config.Setting{
		{Name: "store", Default: "sqlite:toot.db", Help: "where events are kept: " + anyengine.Help},
		{Name: "listen", Default: "127.0.0.1:8080", Help: "the address to listen on", Check: config.Address},
		{Name: "channel-prefix", Help: "the prefix of every channel that is published on"},
		{Name: "subscription-prefixes", Help: "prefixes of channels, besides channel-prefix, on which subscribers may register, separated by commas; * allows any"},
		{Name: "public-url", Help: "the URL at which others reach this server", Check: config.OptionalURL},
		{Name: "publish-auth", Secret: true, Help: "credentials for /publish: name:password or a token, several separated by commas; @FILE reads one per line", Check: credentials},
		{Name: "subscriptions-auth", Secret: true, Help: "credentials for /subscriptions", Check: credentials},
		{Name: "metrics-auth", Secret: true, Help: "credentials for /metrics", Check: credentials},
		{Name: "insecure", Default: "false", Switch: true, Help: "allow anybody in without credentials, on more than the loopback interface"},
		{Name: "allow-host", Help: "further host names that requests may be for, separated by commas, while the server listens on the loopback interface without credentials", Check: hosts},
		{Name: "allow-callback", Help: "to which callback URLs events may be sent: public (addresses on the internet), hosts (shop.internal, *.internal), addresses, networks (10.0.0.0/8), separated by commas; or any", Check: callbacks},
		{Name: "require-consent", Default: "false", Switch: true, Help: "ask each callback URL for consent before sending events to it; needs public-url"},
		{Name: "registration-lease", Help: "how long a registration lasts unless it is renewed; without this, for ever", Check: config.OptionalSeconds},
		{Name: "max-event-bytes", Default: "1048576", Help: "the size of the largest event, in bytes", Check: config.Count},
		{Name: "max-intake-bytes", Default: "67108864", Help: "the most memory for all requests that are being read or stored, in bytes", Check: config.Count},
		{Name: "request-timeout", Default: "15s", Help: "how long an endpoint may take to answer", Check: config.Duration},
		{Name: "max-retries", Default: "25", Help: "how often a delivery is tried again before it goes to the dead letters; 0 means never", Check: config.CountOrZero},
		{Name: "max-deliveries", Default: "2048", Help: "the most requests in flight", Check: config.Count},
		{Name: "max-deliveries-per-url", Default: "128", Help: "the most requests in flight to one callback URL", Check: config.Count},
		{Name: "max-deliveries-per-host", Default: "512", Help: "the most requests in flight to one host and port", Check: config.Count},
		{Name: "max-rate-per-url", Default: "0", Help: "the most requests per second to one callback URL; 0 means no limit", Check: config.Rate},
		{Name: "dedupe", Help: "how long a repeated event is recognised, from now on (default: what the store was told last, or 1h)", Check: config.Optional(config.Duration)},
		{Name: "dead-age", Help: "how long dead letters are kept, from now on (default: what the store was told last, or 4320h)", Check: config.Optional(config.Duration)},
		{Name: "dead-max", Help: "how many dead letters are kept, from now on (default: what the store was told last, or 10000)", Check: config.Optional(config.Count)},
		{Name: "read-timeout", Default: "1m", Help: "how long a request may take to arrive", Check: config.Duration},
		{Name: "write-timeout", Default: "1m", Help: "how long its answer may take after that, to be made and to be read", Check: config.Duration},
		{Name: "max-connections", Default: "4096", Help: "the most open connections to this server; further ones wait", Check: config.Count},
		{Name: "drain-timeout", Default: "25s", Help: "how long work in flight may take when the server stops", Check: config.Duration},
		{Name: "baggage-hosts", Help: "hosts of your own, separated by commas, to which the baggage of traces is sent, too: shop.internal, *.internal", Check: config.Hosts},
		{Name: "otlp-endpoint", Help: "where traces are sent, by OTLP over HTTP, such as http://localhost:4318; OTEL_EXPORTER_OTLP_ENDPOINT does the same", Check: config.OptionalURL},
		{Name: "log-format", Default: "text", Help: "text (laid out on a terminal) or json", Check: config.OneOf("text", "json")},
		{Name: "log-level", Default: "info", Help: "debug, info, warn or error", Check: config.OneOf("debug", "info", "warn", "error")},
	}
}

func credentials(spec string) error {
	_, err := serve.NewGuard(spec)
	return err
}

func hosts(spec string) error {
	_, err := serve.Hosts(spec)
	return err
}

func callbacks(spec string) error {
	_, err := serve.Callbacks(spec)
	return err
}

func (c *command) serve() *cobra.Command {
	settings := config.Set{Settings: serveSettings()}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Publish and deliver events for apps in any language",
		Long: `Serves publishing and subscribing over HTTP, and delivers what is published.

  POST /publish/{channel}     publish the body as a payload (NDJSON: many)
  /subscriptions              subscribe, unsubscribe, list
  GET  /healthz, /readyz      for health checks
  GET  /metrics               for Prometheus
  GET  /openapi.yaml          all of this in detail

A flag takes precedence over the environment (TOOT_LISTEN for --listen, and so on),
and that over a YAML file (--config). toot config check shows every setting.

Who may do what is said by --publish-auth, --subscriptions-auth and --metrics-auth.
The users that toot auth manages are those of other apps, which use package auth.

On SIGTERM or Ctrl-C the server finishes the work in flight and exits with 0. On
SIGHUP it reads its files of credentials again.`,
		Example: `  toot serve
  toot serve --store redis://localhost --listen :8080 --config toot.yaml
  curl -d '{"id":123}' http://127.0.0.1:8080/publish/users.updated.v1`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			values, err := settings.Load()
			if err != nil {
				return &usageError{err}
			}
			return c.runServe(cmd.Context(), values)
		},
	}
	settings.AddFlags(cmd.Flags())
	cmd.Flags().SortFlags = false
	return cmd
}

func (c *command) runServe(ctx context.Context, v config.Values) error {
	log := c.serveLogger(v)
	guards := map[string]*serve.Guard{}
	for _, name := range []string{"publish-auth", "subscriptions-auth", "metrics-auth"} {
		g, err := serve.NewGuard(v.Get(name))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		guards[name] = g
	}
	local := isLoopback(v.Get("listen"))
	if err := refuseOpen(v, guards, local); err != nil {
		return err
	}
	policy, err := serve.Callbacks(v.Get("allow-callback"))
	if err != nil {
		return &usageError{err}
	}
	names, err := serve.Hosts(v.Get("allow-host"))
	if err != nil {
		return &usageError{err}
	}
	public := v.OptionalURL("public-url")
	if v.On("require-consent") && public == nil {
		return usagef("require-consent needs public-url: its host is the name under which callback URLs are asked for their consent")
	}
	wanted := engine.Retention{Dedupe: v.MustDuration("dedupe"), DeadAge: v.MustDuration("dead-age"), DeadMax: v.MustCount("dead-max")}
	s, err := anyengine.Open(ctx, v.Get("store"), &anyengine.Options{Retention: wanted, Logger: log})
	if err != nil {
		return err
	}
	defer func() {
		if err := s.Close(); err != nil {
			log.Error("can't close the store", "error", err)
		}
	}()
	kept, err := s.Retention(ctx)
	if err != nil {
		return err
	}
	spans, endTracing, err := newTracing(ctx, v.Get("otlp-endpoint"), log)
	if err != nil {
		return err
	}
	defer endTracing()
	metrics := prometheus.New(nil)
	options := &toot.Options{
		Observer:             toot.Observers(metrics, otel.New(&otel.Options{TracerProvider: spans, Propagator: w3c})),
		ChannelPrefix:        v.Get("channel-prefix"),
		SubscriptionPrefixes: config.List(v.Get("subscription-prefixes")),
		RequestTimeout:       v.MustDuration("request-timeout"),
		MaxRetries:           cmp.Or(v.MustCount("max-retries"), -1), // to the library 0 is its default
		MaxEventBytes:        v.MustCount("max-event-bytes"),
		MaxIntakeBytes:       max(v.MustCount("max-intake-bytes")/4, 1), // for registrations
		MaxDeliveries:        v.MustCount("max-deliveries"),
		MaxDeliveriesPerURL:  v.MustCount("max-deliveries-per-url"),
		MaxDeliveriesPerHost: v.MustCount("max-deliveries-per-host"),
		MaxRatePerURL:        v.MustRate("max-rate-per-url"),
		AllowCallback:        policy,
		RequireConsent:       v.On("require-consent"),
		RegistrationLease:    v.OptionalDuration("registration-lease"),
		DrainTimeout:         v.MustDuration("drain-timeout"),
		BaggageHosts:         config.List(v.Get("baggage-hosts")),
		Logger:               log,
	}
	if public != nil {
		options.Origin = public.Hostname()
	}
	app, err := toot.New(s, options)
	if err != nil {
		return &usageError{err}
	}
	defer func() { _ = app.Close() }()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", v.Get("listen"))
	if err != nil {
		return fmt.Errorf("can't listen: %w: choose another address with --listen", err)
	}
	server := serve.New(app, serve.Options{
		Publish: guards["publish-auth"], Subscriptions: guards["subscriptions-auth"], Metrics: guards["metrics-auth"],
		MetricsHandler: metricsHandler(app, metrics),
		Propagator:     w3c,
		Memory:         s,
		Dedupe:         kept.With(wanted).Dedupe,
		ChannelPrefix:  v.Get("channel-prefix"),
		MaxEventBytes:  v.MustCount("max-event-bytes"),
		MaxIntakeBytes: max(v.MustCount("max-intake-bytes")/4*3, 1),
		PublicURL:      public,
		CheckHost:      local && anyOpen(guards),
		AllowHosts:     names,
		ReadTimeout:    v.MustDuration("read-timeout"),
		WriteTimeout:   v.MustDuration("write-timeout"),
		MaxConnections: v.MustCount("max-connections"),
		StopTimeout:    v.MustDuration("drain-timeout"),
		Logger:         log,
	})
	ctx, end := context.WithCancel(ctx)
	defer end()
	stop := c.reloadOnHangup(guards, log, end)
	defer stop()
	build := buildVersion()
	said := []any{"url", "http://" + listener.Addr().String(), "store", anyengine.Redact(v.Get("store")), "version", build.Version}
	if build.Revision != "" {
		said = append(said, "revision", build.Revision)
	}
	if public != nil {
		said = append(said, "public_url", anyengine.Redact(public.String()))
	}
	log.Info("serving", said...)
	err = server.Run(ctx, listener)
	log.Info("stopped")
	return err
}

// metricsHandler serves what there is to measure, the process included.
func metricsHandler(app *toot.App, metrics *prometheus.Metrics) http.Handler {
	registry := prom.NewRegistry()
	registry.MustRegister(metrics, prometheus.NewStoreCollector(app),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

func (c *command) serveLogger(v config.Values) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(v.Get("log-level"))) // it has been checked
	if c.verbose {
		level = slog.LevelDebug
	}
	if v.Get("log-format") == "json" {
		return slog.New(slog.NewJSONHandler(c.err.Writer, &slog.HandlerOptions{Level: level}))
	}
	return c.logTo(level)
}

// isLoopback reports an address that nobody but this machine reaches.
func isLoopback(listen string) bool {
	host, _, _ := net.SplitHostPort(listen) // it has been checked
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// refuseOpen refuses to let everybody on a network publish or subscribe, or
// read metrics, and to send events wherever a subscriber says, unless that is
// said to be meant.
func refuseOpen(v config.Values, guards map[string]*serve.Guard, local bool) error {
	if local {
		return nil
	}
	for _, name := range []string{"publish-auth", "subscriptions-auth", "metrics-auth"} {
		if guards[name].Open() && !v.On("insecure") {
			return usagef("anybody who can reach %s could use it without credentials: set %s, or --insecure if that is meant", v.Get("listen"), name)
		}
	}
	if strings.Trim(v.Get("allow-callback"), ", ") == "" {
		return usagef("any subscriber could make this server send requests to whatever it can reach: set allow-callback to public, to the hosts or networks of subscribers, or to any if that is meant")
	}
	return nil
}

// anyOpen reports that something can be used without credentials.
func anyOpen(guards map[string]*serve.Guard) bool {
	for _, g := range guards {
		if g.Open() {
			return true
		}
	}
	return false
}

// reloadOnHangup reads the files with credentials again on SIGHUP. If that says
// that the terminal was closed, it ends the server instead.
func (c *command) reloadOnHangup(guards map[string]*serve.Guard, log *slog.Logger, end func()) (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range hangups {
			if c.err.Gone() {
				end()
				continue
			}
			var errs []error
			for name, g := range guards {
				if err := g.Reload(); err != nil {
					errs = append(errs, fmt.Errorf("%s: %w", name, err))
				}
			}
			if err := errors.Join(errs...); err != nil {
				log.Error("can't read the credentials again; the old ones stay in force", "error", err)
				continue
			}
			log.Info("credentials were read again")
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(hangups)
		<-ended
	}
}
