package otel_test

import (
	"log"

	"go.opentelemetry.io/otel/propagation"

	sdk "go.opentelemetry.io/otel/sdk/trace"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine"
	"github.com/watermarkchurch/toot-go/observe/otel"
	"github.com/watermarkchurch/toot-go/observe/prometheus"
)

// Traces and metrics side by side.
func Example() {
	store, err := sqliteengine.Open("shop.db", nil)
	if err != nil {
		log.Fatal(err)
	}
	spans := sdk.NewTracerProvider() // with an exporter and a sampler
	tracer := otel.New(&otel.Options{TracerProvider: spans, Propagator: propagation.TraceContext{}})
	metrics := prometheus.New(nil) // to be registered
	app, err := toot.New(store, &toot.Options{Observer: toot.Observers(metrics, tracer)})
	if err != nil {
		log.Fatal(err)
	}
	_ = app
}
