package toot_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine"
)

// newApp opens an app on a file in a new directory. In an app of your own
// this is a path that lasts.
func newApp(opts toot.Options) (app *toot.App, closeAll func()) {
	dir, err := os.MkdirTemp("", "toot")
	if err != nil {
		log.Fatal(err)
	}
	store, err := sqliteengine.Open(filepath.Join(dir, "toot.db"), nil)
	if err != nil {
		log.Fatal(err)
	}
	opts.Logger = slog.New(slog.DiscardHandler)
	app, err = toot.New(store, &opts)
	if err != nil {
		log.Fatal(err)
	}
	return app, func() {
		app.Close()
		store.Close()
		os.RemoveAll(dir)
	}
}

// An app that subscribes to its own events, to show every part at once.
func Example() {
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()

	app, closeApp := newApp(toot.Options{
		ChannelPrefix: "org.example.shop.",
		CallbackURL:   server.URL + "/callbacks",
	})
	defer closeApp()
	mux.Handle("/subscriptions", app.SubscriptionsService())
	mux.Handle("/callbacks", app.HandlerService())

	handled := make(chan string)
	app.AddSource("shop", toot.Source{SubscriptionURL: server.URL + "/subscriptions", ChannelPrefix: "org.example.shop."})
	app.Subscribe("shop", "orders.placed.v1", toot.HandlerFunc(func(_ context.Context, e *toot.Event) error {
		handled <- fmt.Sprintf("%s: order %v", e.Channel, e.Get("order"))
		return nil
	}))

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go app.Run(ctx)

	if err := app.RegisterSubscriptions(ctx); err != nil {
		log.Fatal(err)
	}
	if _, err := app.Publish(ctx, "orders.placed.v1", map[string]any{"order": 7}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-handled)
	// Output: org.example.shop.orders.placed.v1: order 7
}

// A handler that gets the payload decoded.
func ExampleHandlePayload() {
	type user struct {
		ID   int    `json:"id"`
		Name string `json:"name"`
	}
	handler := toot.HandlePayload(func(_ context.Context, e *toot.Event, u user) error {
		fmt.Printf("%s: %s has ID %d\n", e.Channel, u.Name, u.ID)
		return nil
	})
	err := handler.HandleEvent(context.Background(), &toot.Event{
		Channel: "org.example.users.updated.v1",
		Payload: []byte(`{"id":7,"name":"Someone"}`),
	})
	fmt.Println(err)
	// Output:
	// org.example.users.updated.v1: Someone has ID 7
	// <nil>
}

// What a handler may return besides nil and an ordinary error.
func ExampleRetryAfter() {
	var errBusy, errNoSuchUser = errors.New("busy"), errors.New("no such user")
	update := func(id int) error {
		switch id {
		case 1:
			return errBusy
		case 2:
			return errNoSuchUser
		}
		return nil
	}
	handler := toot.HandlePayload(func(_ context.Context, _ *toot.Event, id int) error {
		err := update(id)
		switch {
		case errors.Is(err, errBusy):
			return toot.RetryAfter(10*time.Second, err) // rather than by the schedule
		case errors.Is(err, errNoSuchUser):
			return toot.Permanent(err) // to the dead letters, at once
		}
		return err
	})
	fmt.Println(handler.HandleEvent(context.Background(), &toot.Event{Payload: []byte(`2`)}))
	// Output: no such user
}

// Several events in one step, all or none, with a choice of ID and prefix.
func ExampleApp_PublishAll() {
	app, closeApp := newApp(toot.Options{ChannelPrefix: "org.example.shop."})
	defer closeApp()
	events, err := app.PublishAll(context.Background(),
		toot.Message{Channel: "orders.placed.v1", Payload: map[string]int{"order": 7}, ID: "order-7"},
		toot.Message{Channel: "moved.v1", ChannelPrefix: "org.example.stock."},
	)
	if err != nil {
		log.Fatal(err) // neither was published
	}
	for _, e := range events {
		fmt.Println(e.Channel, string(e.Payload))
	}
	// Output:
	// org.example.shop.orders.placed.v1 {"order":7}
	// org.example.stock.moved.v1 {}
}

// Everything in the dead letters of the last day is tried again.
func ExampleApp_Redrive() {
	app, closeApp := newApp(toot.Options{})
	defer closeApp()
	ctx := context.Background()
	letters, err := app.DeadLetters(ctx, engine.DeadQuery{Since: time.Now().Add(-24 * time.Hour)})
	if err != nil {
		log.Fatal(err)
	}
	for _, l := range letters {
		fmt.Println(l.RedactedLane, l.Reason, len(l.Tries))
		if _, err := app.Redrive(ctx, l.ID); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
}

// Middleware around every handler.
func ExampleApp_Use() {
	app, closeApp := newApp(toot.Options{})
	defer closeApp()
	app.Use(func(next toot.Handler) toot.Handler {
		return toot.HandlerFunc(func(ctx context.Context, e *toot.Event) error {
			began := time.Now()
			err := next.HandleEvent(ctx, e)
			slog.Debug("handled", "event", e.ID, "took", time.Since(began), "error", err)
			return err
		})
	})
	// Output:
}
