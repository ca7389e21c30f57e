package toottest_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/signing"
	"github.com/watermarkchurch/toot-go/toottest"
)

// What is tested: a shop that publishes its orders, and a mailer that handles
// them.

type order struct {
	ID    int    `json:"id"`
	Email string `json:"email"`
}

func placeOrder(ctx context.Context, app *toot.App, o order) error {
	_, err := app.Publish(ctx, "orders.placed.v1", o)
	return err
}

var errMailServer = errors.New("the mail server does not answer")

type mailer struct {
	down atomic.Bool
	sent []string
}

// subscribe is what the mailer does at its start.
func (m *mailer) subscribe(app *toot.App) error {
	err := app.AddSource("shop", toot.Source{SubscriptionURL: "https://shop.example.org/subscriptions", ChannelPrefix: "org.example.shop."})
	if err != nil {
		return err
	}
	return app.Subscribe("shop", "orders.placed.v1", toot.HandlePayload(m.orderPlaced))
}

func (m *mailer) orderPlaced(_ context.Context, _ *toot.Event, o order) error {
	if m.down.Load() {
		return errMailServer
	}
	m.sent = append(m.sent, o.Email)
	return nil
}

// A publisher: what has been published?
func TestAnOrderIsPublished(t *testing.T) {
	app := toottest.New(t, &toot.Options{ChannelPrefix: "org.example.shop."})
	if err := placeOrder(t.Context(), app.App, order{ID: 7, Email: "a@example.org"}); err != nil {
		t.Fatal(err)
	}
	var got order
	if err := app.RequirePublished(t, "orders.placed.v1").Decode(&got); err != nil || got.ID != 7 {
		t.Errorf("published %+v, %v", got, err)
	}
}

// A handler: Deliver returns once it has handled the event.
func TestAMailIsSent(t *testing.T) {
	app := toottest.New(t, nil)
	m := &mailer{}
	if err := m.subscribe(app.App); err != nil {
		t.Fatal(err)
	}
	err := app.Deliver(t, toot.Message{
		Channel: "org.example.shop.orders.placed.v1",
		Payload: json.RawMessage(`{"id":7,"email":"a@example.org"}`), // as it comes over the wire
	})
	if err != nil || len(m.sent) != 1 {
		t.Errorf("sent to %q, %v", m.sent, err)
	}
}

// A retry: under the fake clock of testing/synctest, a minute passes at once.
func TestAMailIsSentOnceTheServerIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := toottest.New(t, nil)
		m := &mailer{}
		m.down.Store(true)
		if err := m.subscribe(app.App); err != nil {
			t.Fatal(err)
		}
		err := app.Deliver(t, toot.Message{
			Channel: "org.example.shop.orders.placed.v1",
			Payload: order{ID: 7, Email: "a@example.org"},
		})
		if !errors.Is(err, errMailServer) {
			t.Fatalf("the handler returned %v", err)
		}
		m.down.Store(false)
		time.Sleep(time.Minute) // toot waits 15 to 24 seconds before it tries again
		synctest.Wait()
		if len(m.sent) != 1 {
			t.Errorf("sent to %q", m.sent)
		}
	})
}

// A subscriber that fails: the endpoint answers the first request with 503, and
// those that follow with 200.
func TestAnOrderIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := toottest.New(t, &toot.Options{ChannelPrefix: "org.example.shop."})
		endpoint := toottest.NewEndpoint(t,
			toottest.Answer{Status: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {"120"}}},
			toottest.Answer{Status: http.StatusOK})
		app.AddSubscriber(t, "orders.placed.v1", endpoint.URL)
		if err := placeOrder(t.Context(), app.App, order{ID: 7}); err != nil {
			t.Fatal(err)
		}
		got := endpoint.Await(t, 2)
		if waited := got[1].At.Sub(got[0].At); waited < 2*time.Minute {
			t.Errorf("sent again after %v", waited)
		}
		if got[0].Event.ID != got[1].Event.ID {
			t.Errorf("other events were sent: %s", got[1].Body)
		}
	})
}

// Two apps, with signed events.
func TestShopAndMailer(t *testing.T) {
	shop := toottest.New(t, &toot.Options{ChannelPrefix: "org.example.shop."})
	mailer := toottest.New(t, nil)
	handled := make(chan order, 1)
	err := mailer.AddSource("shop", toot.Source{
		SubscriptionURL: shop.URL + "/subscriptions",
		ChannelPrefix:   "org.example.shop.",
		SigningSecrets:  []string{signing.NewSecret()},
	})
	if err != nil {
		t.Fatal(err)
	}
	err = mailer.Subscribe("shop", "orders.placed.v1", toot.HandlePayload(func(_ context.Context, _ *toot.Event, o order) error {
		handled <- o
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := mailer.RegisterSubscriptions(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := placeOrder(t.Context(), shop.App, order{ID: 7}); err != nil {
		t.Fatal(err)
	}
	if o := <-handled; o.ID != 7 {
		t.Errorf("handled %+v", o)
	}
}
