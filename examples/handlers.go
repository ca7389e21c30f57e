package examples

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/watermarkchurch/toot-go"
)

type order struct {
	Number int    `json:"number"`
	Email  string `json:"email"`
}

var (
	errBusy        = errors.New("the bank is busy")
	errNoSuchOrder = errors.New("no such order")
)

func charging(charge func(ctx context.Context, number int) error) toot.Handler {
	return toot.HandlePayload(func(ctx context.Context, e *toot.Event, o order) error {
		err := charge(ctx, o.Number)
		switch {
		case errors.Is(err, errBusy):
			return toot.RetryAfter(10*time.Second, err) // rather than by the schedule
		case errors.Is(err, errNoSuchOrder):
			return toot.Permanent(err) // to the dead letters, at once
		}
		return err
	})
}

func oneAtATime(app *toot.App, handler toot.Handler) error {
	return app.AddSubscription(toot.Subscription{
		Source:      "shop",
		Channel:     "orders.placed.v1",
		Name:        "billing", // what waiting events are kept under: keep it
		Handler:     handler,
		Concurrency: 1,
		Timeout:     time.Minute,
	})
}

func logged(log *slog.Logger) toot.Middleware {
	return func(next toot.Handler) toot.Handler {
		return toot.HandlerFunc(func(ctx context.Context, e *toot.Event) error {
			began := time.Now()
			err := next.HandleEvent(ctx, e)
			log.InfoContext(ctx, "handled", "event", e.ID, "channel", e.Channel, "attempt", e.Attempt, "took", time.Since(began), "error", err)
			return err
		})
	}
}

func notOlderThan(age time.Duration) toot.Middleware {
	return func(next toot.Handler) toot.Handler {
		return toot.HandlerFunc(func(ctx context.Context, e *toot.Event) error {
			if !e.Timestamp.IsZero() && time.Since(e.Timestamp) > age {
				return nil // nobody wants yesterday's weather
			}
			return next.HandleEvent(ctx, e)
		})
	}
}

func publishOnce(ctx context.Context, app *toot.App, o order, id string) error {
	message := toot.Message{Channel: "orders.placed.v1", Payload: o, ID: id}
	_, err := app.PublishAll(ctx, message)
	if errors.Is(err, toot.ErrUncertain) { // the store's answer was lost
		_, err = app.PublishAll(ctx, message) // under the same ID, so nobody gets it twice
	}
	return err
}

func publishBothVersions(ctx context.Context, app *toot.App, old, current any) error {
	_, err := app.PublishAll(ctx,
		toot.Message{Channel: "orders.placed.v1", Payload: old},
		toot.Message{Channel: "orders.placed.v2", Payload: current},
	)
	return err
}
