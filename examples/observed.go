package examples

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
	toototel "github.com/watermarkchurch/toot-go/observe/otel"
	tootprom "github.com/watermarkchurch/toot-go/observe/prometheus"
)

func withMetrics(store engine.Engine, mux *http.ServeMux) (*toot.App, error) {
	metrics := tootprom.New(nil)
	app, err := toot.New(store, &toot.Options{Observer: metrics})
	if err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics, tootprom.NewStoreCollector(app))
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return app, nil
}

func withTraces(store engine.Engine, exporter sdktrace.SpanExporter) (app *toot.App, flush func(context.Context) error, err error) {
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter))
	tracer := toototel.New(&toototel.Options{TracerProvider: provider, Propagator: propagation.TraceContext{}})
	app, err = toot.New(store, &toot.Options{Observer: tracer})
	return app, provider.Shutdown, err
}

func withBoth(metrics *tootprom.Metrics, tracer *toototel.Tracer) toot.Options {
	return toot.Options{Observer: toot.Observers(metrics, tracer)}
}
