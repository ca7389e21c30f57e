package toot_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/signing"
)

// Somebody else who is first to hand over a secret for a callback URL, on a
// channel that nobody cares for, keeps its owner from nothing.
func TestAStrangersSecretDoesNotCount(t *testing.T) {
	publisher := newNode(t, toot.Options{ChannelPrefix: prefix, RetryDelay: func(int) time.Duration { return 20 * time.Millisecond }}, true)
	tap, attach := newTap(t)
	hand := func(secret, channel string) int {
		t.Helper()
		return publisher.request(t, "POST", "/subscriptions", registration(tap.URL, prefix+channel, `,"signing_secret":"`+secret+`"`)).status
	}
	if status := hand(signing.NewSecret(), "junk"); status != 201 {
		t.Fatalf("a stranger registers: %d", status)
	}
	own := signing.NewSecret()
	var got recorder
	subscriber := newNode(t, toot.Options{CallbackURL: tap.URL}, true)
	must(t, subscriber.AddSource("publisher", toot.Source{SubscriptionURL: publisher.url + "/subscriptions", ChannelPrefix: prefix, SigningSecrets: []string{own}}))
	must(t, subscriber.Subscribe("publisher", "a", &got))
	attach(subscriber.HandlerService())
	must(t, subscriber.RegisterSubscriptions(t.Context()))
	must2(publisher.Publish(t.Context(), "a", 1))
	got.wait(t, 1)
	publisher.settled(t) // which is once its answer has been noted
	// It has answered for its own: from now on another's does not count.
	if status := hand(signing.NewSecret(), "b"); status != 403 {
		t.Errorf("a stranger hands over another secret: %d", status)
	}
	must2(publisher.Publish(t.Context(), "a", 2))
	got.wait(t, 2)
	for i := range tap.count() {
		if _, _, status := tap.at(i); status != 200 {
			t.Errorf("request %d was answered with %d", i, status)
		}
	}
}

// An answer of an endpoint that does not know toot says nothing of a secret.
func TestOnlyEndpointsThatKnowTootAnswerForASecret(t *testing.T) {
	publisher := newNode(t, toot.Options{ChannelPrefix: prefix}, true)
	requests := make(chan struct{}, 10)
	endpoint := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests <- struct{}{} }))
	t.Cleanup(endpoint.Close)
	hand := func() int {
		return publisher.request(t, "POST", "/subscriptions", registration(endpoint.URL, prefix+"a", `,"signing_secret":"`+signing.NewSecret()+`"`)).status
	}
	if status := hand(); status != 201 {
		t.Fatal(status)
	}
	must2(publisher.Publish(t.Context(), "a", 1))
	<-requests
	must2(publisher.Publish(t.Context(), "a", 2))
	<-requests // the first was settled before, or this is the second of two
	if status := hand(); status != 204 {
		t.Errorf("another secret: %d", status)
	}
}

// A secret goes with the last registration at which it was handed over; one that
// the operator has set stays.
func TestASecretGoesWithTheLastRegistration(t *testing.T) {
	n := newNode(t, toot.Options{ChannelPrefix: prefix}, false)
	const u = "https://a.example.org/"
	secret := signing.NewSecret()
	kept := func(of string) bool { return len(must2(n.engine.Attribute(t.Context(), "signing", of)).Value) > 0 }
	hand := func(channel string) {
		t.Helper()
		if a := n.request(t, "POST", "/subscriptions", registration(u, prefix+channel, `,"signing_secret":"`+secret+`"`)); a.status != 201 {
			t.Fatal(a.status)
		}
	}
	remove := func(of, channel string) {
		t.Helper()
		if a := n.request(t, "DELETE", "/subscriptions"+removal(of, prefix+channel)[1:], ""); a.status != 204 {
			t.Fatal(a.status, a.body)
		}
	}
	hand("a")
	hand("b")
	remove(u, "a")
	if !kept(u) {
		t.Error("the secret went with the first of two registrations")
	}
	remove(u, "b")
	if kept(u) {
		t.Error("the secret stays after the last registration")
	}
	if left := must2(n.engine.Attributes(t.Context(), "signing:"+u)); len(left) != 0 {
		t.Errorf("notes stay: %v", left)
	}
	const set = "https://b.example.org/"
	if status := n.register(t, set, prefix+"a"); status != 201 {
		t.Fatal(status)
	}
	must(t, n.SetSigningSecret(t.Context(), set, secret, 0))
	must2(n.engine.RemoveSubscriber(t.Context(), prefix+"a", set, 0))
	if !kept(set) {
		t.Error("a secret that the operator has set is gone")
	}
}

// A secret ends a while after the registrations at which it was handed over.
func TestASecretEndsAfterItsRegistrations(t *testing.T) {
	n := newNode(t, toot.Options{ChannelPrefix: prefix, RegistrationLease: time.Hour}, false)
	const u = "https://a.example.org/"
	if a := n.request(t, "POST", "/subscriptions", registration(u, prefix+"a", `,"signing_secret":"`+signing.NewSecret()+`"`)); a.status != 201 {
		t.Fatal(a.status)
	}
	if left := must2(n.engine.Attribute(t.Context(), "signing", u)).Left; left < 3*time.Hour || left > 4*time.Hour {
		t.Errorf("the secret is kept for %v", left)
	}
	if left := must2(n.engine.Attributes(t.Context(), "signing:"+u))[prefix+"a"].Left; left < time.Hour || left > 2*time.Hour {
		t.Errorf("the note is kept for %v", left)
	}
}

// Where consent is asked for, the endpoint answers for a secret at once.
func TestConsentAnswersForASecret(t *testing.T) {
	publisher := newNode(t, toot.Options{ChannelPrefix: prefix, RequireConsent: true, Origin: "publisher.example.org"}, false)
	subscriber := newNode(t, toot.Options{}, true)
	source := toot.Source{SubscriptionURL: publisher.url + "/subscriptions", ChannelPrefix: prefix, SigningSecrets: []string{signing.NewSecret()}}
	must(t, subscriber.AddSource("publisher", source))
	must(t, subscriber.Subscribe("publisher", "a", &recorder{}))
	must(t, subscriber.RegisterSubscriptions(t.Context()))
	other := newNode(t, toot.Options{CallbackURL: subscriber.url + "/callbacks"}, false)
	source.SigningSecrets = []string{signing.NewSecret()}
	must(t, other.AddSource("publisher", source))
	must(t, other.Subscribe("publisher", "a", &recorder{}))
	var status *toot.StatusError
	if err := other.RegisterSubscriptions(t.Context()); !errors.As(err, &status) || status.StatusCode != 403 {
		t.Errorf("another secret: %v", err)
	}
}
