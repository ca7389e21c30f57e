package toot_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/signing"
)

// Registrations are for the channels of this app; what else is in the store is
// not shown and can't be removed.
func TestRegistrationsAreForThisAppsChannels(t *testing.T) {
	n := newNode(t, toot.Options{ChannelPrefix: prefix, SubscriptionPrefixes: []string{"org.example.second."}}, false)
	const u = "https://a.example.org/"
	must2(n.engine.AddSubscriber(t.Context(), "org.other.x", u, 0))
	for channel, status := range map[string]int{prefix + "a": 201, "org.example.second.a": 201, "org.other.x": 422, "org.example.publisher": 422, "x": 422} {
		if got := n.register(t, u, channel); got != status {
			t.Errorf("registering for %q: %d, want %d", channel, got, status)
		}
	}
	a := n.request(t, "POST", "/subscriptions", `{"callback_url":"`+u+`","channel":"org.other.x"}`)
	if !strings.Contains(a.body, `\"org.example.publisher.\" or \"org.example.second.\"`) {
		t.Errorf("the answer doesn't name the prefixes: %s", a.body)
	}
	if a := n.request(t, "GET", "/subscriptions", ""); strings.Contains(a.body, "other") || !strings.Contains(a.body, "second") {
		t.Errorf("list: %s", a.body)
	}
	if a := n.request(t, "DELETE", "/subscriptions?channel=org.other.x&callback_url="+url.QueryEscape(u), ""); a.status != 404 {
		t.Errorf("removing another app's: %d", a.status)
	}
	if urls := must2(n.engine.Subscribers(t.Context(), "org.other.x")); len(urls) != 1 {
		t.Errorf("another app's: %v", urls)
	}
	for _, opts := range []toot.Options{{}, {ChannelPrefix: prefix, SubscriptionPrefixes: []string{"*"}}} {
		n := newNode(t, opts, false)
		if got := n.register(t, u, "org.other.x"); got != 201 {
			t.Errorf("registering where any channel is taken: %d", got)
		}
		if a := n.request(t, "GET", "/subscriptions", ""); !strings.Contains(a.body, "other") {
			t.Errorf("list: %s", a.body)
		}
		if a := n.request(t, "DELETE", "/subscriptions?channel=org.other.x&callback_url="+url.QueryEscape(u), ""); a.status != 204 {
			t.Errorf("removing: %d", a.status)
		}
	}
}

// withUsers serves a node's subscriptions to those who say in a header who they
// are, with credentials as a middleware would find them.
func withUsers(t *testing.T, n *node, users map[string]toot.User) (as func(user, method, query, body string, change func(*http.Request)) answer) {
	t.Helper()
	service := n.SubscriptionsService()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u := users[r.Header.Get("User")]
		u.Exists = func(_ context.Context, name string) (bool, error) { _, ok := users[name]; return ok, nil }
		service.ServeHTTP(w, r.WithContext(toot.WithUser(r.Context(), u)))
	}))
	t.Cleanup(server.Close)
	return func(user, method, query, body string, change func(*http.Request)) answer {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, server.URL+query, strings.NewReader(body))
		must(t, err)
		req.Header.Set("User", user)
		if change != nil {
			change(req)
		}
		return do(t, server.Client(), req)
	}
}

func registration(u, channel, more string) string {
	return fmt.Sprintf(`{"callback_url":%q,"channel":%q%s}`, u, channel, more)
}

func removal(u, channel string) string {
	return "/?" + url.Values{"channel": {channel}, "callback_url": {u}}.Encode()
}

func TestRegistrationsBelongToWhoMadeThem(t *testing.T) {
	var said bytes.Buffer
	n := newNode(t, toot.Options{ChannelPrefix: prefix, Logger: slog.New(slog.NewTextHandler(&said, nil))}, false)
	users := map[string]toot.User{
		"ann": {Name: "ann"}, "bob": {Name: "bob"}, "gone": {Name: "gone"}, "op": {Name: "op", Operator: true}, "token": {},
		"narrow": {Name: "narrow", Prefixes: []string{prefix + "own."}},
	}
	as := withUsers(t, n, users)
	const u, channel = "https://a.example.org/?token=very-secret", prefix + "a"
	check := func(what string, got answer, want int) {
		t.Helper()
		if got.status != want {
			t.Errorf("%s: %d %s, want %d", what, got.status, got.body, want)
		}
	}
	check("ann registers", as("ann", "POST", "", registration(u, channel, ""), nil), 201)
	check("bob registers it too", as("bob", "POST", "", registration(u, channel, ""), nil), 204)
	check("bob removes it", as("bob", "DELETE", removal(u, channel), "", nil), 403)
	check("one without a name removes it", as("token", "DELETE", removal(u, channel), "", nil), 403)
	check("ann removes it", as("ann", "DELETE", removal(u, channel), "", nil), 204)

	check("ann registers", as("ann", "POST", "", registration(u, channel, ""), nil), 201)
	check("an operator removes it", as("op", "DELETE", removal(u, channel), "", nil), 204)

	must2(n.engine.AddSubscriber(t.Context(), channel, u, 0))
	check("bob removes what nobody is known to have registered", as("bob", "DELETE", removal(u, channel), "", nil), 204)

	check("one who will be gone registers", as("gone", "POST", "", registration(u, channel, ""), nil), 201)
	check("bob removes it", as("bob", "DELETE", removal(u, channel), "", nil), 403)
	delete(users, "gone")
	check("bob removes it when that one is gone", as("bob", "DELETE", removal(u, channel), "", nil), 204)

	check("a user of other channels registers", as("narrow", "POST", "", registration(u, channel, ""), nil), 403)
	check("on a channel of his", as("narrow", "POST", "", registration(u, prefix+"own.x", ""), nil), 201)
	check("ann registers", as("ann", "POST", "", registration(u, channel, ""), nil), 201)
	check("a user of other channels removes it", as("narrow", "DELETE", removal(u, channel), "", nil), 404)

	for user, want := range map[string][2]string{ // what is shown of ann's and of the other's
		"ann":   {"token=very-secret", "/?redacted"},
		"bob":   {"/?redacted", "/?redacted"},
		"op":    {"token=very-secret", "token=very-secret"},
		"token": {"/?redacted", "/?redacted"},
	} {
		var list struct {
			Subscriptions map[string][]string `json:"subscriptions"`
		}
		must(t, json.Unmarshal([]byte(as(user, "GET", "", "", nil).body), &list))
		if got := list.Subscriptions; len(got) != 2 || !strings.HasSuffix(got[channel][0], want[0]) || !strings.HasSuffix(got[prefix+"own.x"][0], want[1]) {
			t.Errorf("%s is shown %q", user, got)
		}
	}
	if a := as("narrow", "GET", "", "", nil); strings.Contains(a.body, channel) || !strings.Contains(a.body, "own.x") {
		t.Errorf("a user of some channels is shown %s", a.body)
	}
	if a := n.request(t, "GET", "/subscriptions", ""); strings.Contains(a.body, "very-secret") || !strings.Contains(a.body, "token=redacted") {
		t.Errorf("without credentials: %s", a.body)
	}
	for _, line := range []string{`msg="toot: subscriber added" user=ann from=127.0.0.1:`, `msg="toot: subscriber removed" user=op from=`, `msg="toot: refused to remove a subscriber" user=bob`} {
		if !strings.Contains(said.String(), line) {
			t.Errorf("the log has no %s", line)
		}
	}
	if strings.Contains(said.String(), "very-secret") {
		t.Error("the log has a secret")
	}
}

// One who has handed over a secret is taken off only by a request under it, or
// by an operator, or by the user who registered it.
func TestASubscriberWithASecretSignsItsRemoval(t *testing.T) {
	n := newNode(t, toot.Options{ChannelPrefix: prefix}, false)
	const u, channel = "https://a.example.org/", prefix + "a"
	secret := signing.NewSecret()
	must(t, n.SetSigningSecret(t.Context(), u, secret, 0))
	keys := must2(signing.ParseSecrets([]string{secret}))
	signed := func(keys []signing.Key, query string, at time.Time) func(*http.Request) {
		return func(r *http.Request) {
			signing.Sign(r.Header, keys, "x", at, signing.RemovalContent(strings.TrimPrefix(query, "?")))
		}
	}
	query := strings.TrimPrefix(removal(u, channel), "/")
	users := withUsers(t, n, map[string]toot.User{"ann": {Name: "ann"}, "bob": {Name: "bob"}})
	open := func(change func(*http.Request)) answer {
		req, err := http.NewRequestWithContext(t.Context(), "DELETE", n.url+"/subscriptions"+query, http.NoBody)
		must(t, err)
		if change != nil {
			change(req)
		}
		return do(t, n.client, req)
	}
	add := func() {
		t.Helper()
		if a := users("ann", "POST", "", registration(u, channel, ""), nil); a.status != 201 {
			t.Fatalf("registering: %d %s", a.status, a.body)
		}
	}
	add()
	for what, change := range map[string]func(*http.Request){
		"unsigned":            nil,
		"with another secret": signed([]signing.Key{bytes.Repeat([]byte("x"), 32)}, query, time.Now()),
		"for another":         signed(keys, strings.Replace(query, "a.example", "b.example", 1), time.Now()),
		"an hour ago":         signed(keys, query, time.Now().Add(-time.Hour)),
	} {
		if a := open(change); a.status != 403 || !strings.Contains(a.body, "sign") {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
	}
	if a := users("bob", "DELETE", "/"+query, "", nil); a.status != 403 {
		t.Errorf("another user: %d", a.status)
	}
	if a := open(signed(keys, query, time.Now())); a.status != 204 {
		t.Errorf("signed: %d %s", a.status, a.body)
	}
	add()
	if a := users("ann", "DELETE", "/"+query, "", nil); a.status != 204 {
		t.Errorf("the user who registered it: %d", a.status)
	}
}
