package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	api "go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/watermarkchurch/toot-go/cmd/toot/internal/otlp"
)

// w3c is how traces' contexts come in and go out.
var w3c = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})

// traceTimeout bounds how long the last spans may take to be sent at the end.
const traceTimeout = 5 * time.Second

// newTracing returns what makes the spans of toot serve: none, unless an
// endpoint, or OpenTelemetry's environment variables, say where they are to go.
func newTracing(ctx context.Context, endpoint string, log *slog.Logger) (_ trace.TracerProvider, stop func(), err error) {
	client, err := otlp.New(endpoint)
	if err != nil {
		return nil, nil, &usageError{err}
	}
	if client == nil || os.Getenv("OTEL_SDK_DISABLED") == "true" || os.Getenv("OTEL_TRACES_EXPORTER") == "none" {
		return noop.NewTracerProvider(), func() {}, nil
	}
	what, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "toot"), attribute.String("service.version", buildVersion().Version)),
		resource.WithTelemetrySDK(), resource.WithHost(), resource.WithFromEnv())
	if err != nil {
		return nil, nil, usagef("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	exporter, err := otlptrace.New(ctx, client)
	if err != nil {
		return nil, nil, fmt.Errorf("can't send traces: %w", err)
	}
	api.SetErrorHandler(api.ErrorHandlerFunc(func(err error) { log.Warn("some spans could not be sent", "error", err) }))
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(what))
	return provider, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), traceTimeout)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			log.Warn("the last spans could not be sent", "error", err)
		}
	}, nil
}
