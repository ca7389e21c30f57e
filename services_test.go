package toot_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/signing"
)

const originalChannel = prefix + "users.updated.v1"

// answer is what a service said.
type answer struct {
	status int
	header http.Header
	body   string
}

func (n *node) request(t testing.TB, method, path, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, n.url+path, strings.NewReader(body))
	must(t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return do(t, n.client, req)
}

func do(t testing.TB, client *http.Client, req *http.Request) answer {
	t.Helper()
	res, err := client.Do(req)
	must(t, err)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	must(t, err)
	return answer{res.StatusCode, res.Header, string(body)}
}

// isProblem checks for a problem detail (RFC 9457) that says something.
func (a answer) isProblem(t testing.TB, name string) {
	t.Helper()
	var p struct {
		Title, Detail string
		Status        int
	}
	if ct := a.header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("%s: Content-Type %q", name, ct)
	}
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || p.Status != a.status || p.Title == "" || p.Detail == "" {
		t.Errorf("%s: problem %q, %v", name, a.body, err)
	}
}

// sendWire sends a captured request, byte for byte, to a node.
func (n *node) sendWire(t testing.TB, name, path string) answer {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "wire", name))
	must(t, err)
	raw = bytes.Replace(raw, []byte("Host: 127.0.0.1:7099"), []byte("Host: "+strings.TrimPrefix(n.url, "http://")), 1)
	raw = bytes.Replace(raw, []byte("POST /callbacks "), []byte("POST "+path+" "), 1)
	conn, err := net.Dial("tcp", strings.TrimPrefix(n.url, "http://"))
	must(t, err)
	defer func() { _ = conn.Close() }()
	_, err = conn.Write(raw)
	must(t, err)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	must(t, err)
	return answer{res.StatusCode, res.Header, string(body)}
}

func TestOriginalPublishersAreServed(t *testing.T) {
	n := newNode(t, toot.Options{}, true)
	var got recorder
	must(t, n.AddSource("publisher", toot.Source{SubscriptionURL: "http://127.0.0.1:1/", ChannelPrefix: prefix}))
	must(t, n.Subscribe("publisher", "users.updated.v1", &got))
	files := []string{"event-utc-time.http", "event-utc-time-basic-auth.http", "event-utf8-bigint-offset-time.http", "event-escaped-basic-auth.http"}
	for _, file := range files {
		for range 2 { // the second is a duplicate
			a := n.sendWire(t, file, "/callbacks")
			if _, there := a.header["X-Toot-Unsubscribe"]; a.status != 200 || a.body != "" || there {
				t.Errorf("%s: answered %+v", file, a)
			}
		}
	}
	got.wait(t, len(files))
	n.settled(t)
	if len(got.all()) != len(files) {
		t.Errorf("%d events handled, want %d", len(got.all()), len(files))
	}
	for _, e := range got.all() {
		if e.Channel != originalChannel || e.Timestamp.IsZero() {
			t.Errorf("got %+v", e)
		}
	}
}

func TestOriginalSubscribersAreServed(t *testing.T) {
	n := newNode(t, toot.Options{ChannelPrefix: prefix}, true)
	for _, tc := range []struct {
		file   string
		status int
	}{{"register.http", 201}, {"register.http", 204}, {"register-basic-auth.http", 204}} {
		if a := n.sendWire(t, tc.file, "/subscriptions"); a.status != tc.status || a.body != "" {
			t.Errorf("%s: answered %+v, want %d", tc.file, a, tc.status)
		}
	}
	a := n.request(t, "GET", "/subscriptions", "", "Accept", "application/json")
	want := `{"channels":["` + originalChannel + `"],"subscriptions":{"` + originalChannel + `":["http://127.0.0.1:7099/callbacks"]}}`
	if a.status != 200 || strings.TrimSpace(a.body) != want || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("GET: %+v", a)
	}
}

func TestWhatIsSentHasTheOriginalsForm(t *testing.T) {
	type request struct {
		method, contentType string
		body                []byte
	}
	requests := make(chan request, 10)
	peer := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		requests <- request{r.Method, r.Header.Get("Content-Type"), body}
	}))
	t.Cleanup(peer.Close)
	keys := func(body []byte) (keys []string) {
		dec := json.NewDecoder(bytes.NewReader(body))
		must2(dec.Token())
		for dec.More() {
			keys = append(keys, must2(dec.Token()).(string))
			var skip json.RawMessage
			must(t, dec.Decode(&skip))
		}
		return keys
	}

	publisher := newNode(t, toot.Options{ChannelPrefix: prefix}, true)
	must2(publisher.engine.AddSubscriber(t.Context(), originalChannel, peer.URL, 0))
	_, err := publisher.Publish(t.Context(), "users.updated.v1", json.RawMessage(`{"id":12345678901234567890,"a":"é"}`))
	must(t, err)
	r := <-requests
	if r.method != "POST" || r.contentType != "application/json" {
		t.Errorf("event: %s of %s", r.method, r.contentType)
	}
	if got := keys(r.body); !reflect.DeepEqual(got, []string{"id", "timestamp", "payload", "channel"}) {
		t.Errorf("event has %v", got)
	}
	if !bytes.Contains(r.body, []byte(`"payload":{"id":12345678901234567890,"a":"é"},"channel":"`+originalChannel+`"}`)) {
		t.Errorf("event: %s", r.body)
	}

	subscriber := newNode(t, toot.Options{CallbackURL: "http://127.0.0.1:7099/callbacks"}, false)
	must(t, subscriber.AddSource("publisher", toot.Source{SubscriptionURL: peer.URL, ChannelPrefix: prefix}))
	for range 2 { // one request for each channel, however many subscriptions
		must(t, subscriber.Subscribe("publisher", "users.updated.v1", &recorder{}))
	}
	must(t, subscriber.RegisterSubscriptions(t.Context()))
	r = <-requests
	if want := `{"callback_url":"http://127.0.0.1:7099/callbacks","channel":"` + originalChannel + `"}`; string(r.body) != want || r.contentType != "application/json" {
		t.Errorf("registration: %s", r.body)
	}
	if len(requests) > 0 {
		t.Error("registered more than once")
	}
}

func TestSubscriptionsService(t *testing.T) {
	n := newNode(t, toot.Options{ChannelPrefix: prefix, MaxEventBytes: 4096}, false)
	channel, callback := prefix+"a", "https://subscriber.example.org/callbacks?x=1&y=2"
	reg := func(callback, channel string) string {
		return string(must2(json.Marshal(map[string]string{"callback_url": callback, "channel": channel})))
	}
	query := "?" + url.Values{"channel": {channel}, "callback_url": {callback}}.Encode()
	for _, tc := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
	}{
		{"added", "POST", "", reg(callback, channel), nil, 201},
		{"there already", "POST", "", reg(callback, channel), nil, 204},
		{"any media type", "POST", "", reg(callback, channel), []string{"Content-Type", "text/plain"}, 204},
		{"a channel outside the prefix", "POST", "", reg(callback, "elsewhere.b"), nil, 422},
		{"no channel", "POST", "", `{"callback_url":"https://a.example.org/"}`, nil, 422},
		{"empty channel", "POST", "", reg(callback, ""), nil, 422},
		{"no callback_url", "POST", "", `{"channel":"c"}`, nil, 422},
		{"null", "POST", "", `{"callback_url":null,"channel":null}`, nil, 422},
		{"members of other names", "POST", "", `{"callback_url":"https://a.example.org/","Channel":"` + channel + `"}`, nil, 422},
		{"members of other names, too", "POST", "", `{"Callback_URL":"https://a.example.org/","channel":"` + channel + `"}`, nil, 422},
		{"a channel that is no text", "POST", "", `{"callback_url":"https://a.example.org/","channel":["` + channel + `"]}`, nil, 422},
		{"half a surrogate pair in the channel", "POST", "", `{"callback_url":"https://a.example.org/","channel":"` + channel + `\ud800"}`, nil, 422},
		{"half a surrogate pair in the URL", "POST", "", `{"callback_url":"https://a.example.org/\udc00","channel":"` + channel + `"}`, nil, 422},
		{"no UTF-8", "POST", "", "{\"callback_url\":\"https://a.example.org/\",\"channel\":\"" + channel + "\xff\"}", nil, 422},
		{"no JSON", "POST", "", `callback_url=x`, nil, 422},
		{"no object", "POST", "", `[]`, nil, 422},
		{"no body", "POST", "", ``, nil, 422},
		{"relative URL", "POST", "", reg("/callbacks", channel), nil, 422},
		{"no URL", "POST", "", reg("hello", channel), nil, 422},
		{"no host", "POST", "", reg("http:///callbacks", channel), nil, 422},
		{"other scheme", "POST", "", reg("ftp://a.example.org/", channel), nil, 422},
		{"javascript", "POST", "", reg("javascript:alert(1)", channel), nil, 422},
		{"bad host", "POST", "", reg("http://a b/", channel), nil, 422},
		{"control characters", "POST", "", reg("http://a.example.org/\n", channel), nil, 422},
		{"too long a URL", "POST", "", reg("http://a.example.org/"+strings.Repeat("x", 2048), channel), nil, 422},
		{"control characters in the channel", "POST", "", reg(callback, "a\r\nb"), nil, 422},
		{"too large", "POST", "", strings.Repeat(" ", 5000), nil, 413},
		{"list", "GET", "", "", []string{"Accept", "application/json"}, 200},
		{"list, no Accept", "GET", "", "", nil, 200},
		{"list, any", "GET", "", "", []string{"Accept", "*/*"}, 200},
		{"list, one of several", "GET", "", "", []string{"Accept", "text/html, application/json;q=0.9"}, 200},
		{"list as HTML", "GET", "", "", []string{"Accept", "text/html"}, 406},
		{"list as anything but JSON", "GET", "", "", []string{"Accept", "application/json;q=0"}, 406},
		{"remove, no parameters", "DELETE", "", "", nil, 400},
		{"remove, no channel", "DELETE", "?callback_url=x", "", nil, 400},
		{"remove, blank channel", "DELETE", "?channel=%20&callback_url=x", "", nil, 400},
		{"remove, blank callback_url", "DELETE", "?channel=x&callback_url=", "", nil, 400},
		{"remove, not subscribed", "DELETE", "?channel=x&callback_url=y", "", nil, 404},
		{"removed", "DELETE", query, "", nil, 204},
		{"removed already", "DELETE", query, "", nil, 404},
		{"PUT", "PUT", "", "", nil, 405},
		{"PATCH", "PATCH", "", "", nil, 405},
	} {
		a := n.request(t, tc.method, "/subscriptions"+tc.path, tc.body, tc.header...)
		if a.status != tc.status {
			t.Errorf("%s: answered %d %s, want %d", tc.name, a.status, a.body, tc.status)
			continue
		}
		switch {
		case a.status == 200:
			if want := `{"channels":["` + channel + `"],"subscriptions":{"` + channel + `":["` + callback; !strings.HasPrefix(strings.ReplaceAll(a.body, `\u0026`, "&"), want) {
				t.Errorf("%s: %s", tc.name, a.body)
			}
		case a.status >= 400:
			a.isProblem(t, tc.name)
		case a.body != "":
			t.Errorf("%s: body %q", tc.name, a.body)
		}
		if a.status == 405 && a.header.Get("Allow") != "GET, POST, DELETE" {
			t.Errorf("%s: Allow %q", tc.name, a.header.Get("Allow"))
		}
	}
	if urls := must2(n.engine.Subscribers(t.Context(), channel)); len(urls) != 0 {
		t.Errorf("left: %v", urls)
	}
	if a := n.request(t, "GET", "/subscriptions", ""); strings.TrimSpace(a.body) != `{"channels":[],"subscriptions":{}}` {
		t.Errorf("empty list: %s", a.body)
	}
}

func TestHandlerService(t *testing.T) {
	n := newNode(t, toot.Options{MaxEventBytes: 4096}, false)
	must(t, n.AddSource("publisher", toot.Source{SubscriptionURL: "http://127.0.0.1:1/", ChannelPrefix: prefix}))
	must(t, n.Subscribe("publisher", "a", &recorder{}))
	event := `{"id":"1","timestamp":"2026-11-23 09:11:13 UTC","payload":1,"channel":"` + prefix + `a"}`
	for _, tc := range []struct {
		name, method, body string
		status             int
	}{
		{"an event", "POST", event, 200},
		{"again", "POST", event, 200},
		{"a channel nobody handles", "POST", `{"id":"2","channel":"nobody"}`, 200},
		{"no JSON", "POST", "hello", 400},
		{"no body", "POST", "", 400},
		{"no object", "POST", `["a"]`, 400},
		{"no channel", "POST", `{"id":"3","payload":1}`, 422},
		{"an empty channel", "POST", `{"id":"3","channel":""}`, 422},
		{"a channel under another name", "POST", `{"id":"3","Channel":"` + prefix + `a"}`, 422},
		{"half a surrogate pair in the channel", "POST", `{"id":"3","channel":"` + prefix + `a\ud800"}`, 422},
		{"half a surrogate pair in the ID", "POST", `{"id":"\udc00","channel":"` + prefix + `a"}`, 422},
		{"half a surrogate pair in the payload", "POST", `{"id":"3","payload":["\ud83d"],"channel":"` + prefix + `a"}`, 422},
		{"no UTF-8", "POST", "{\"id\":\"3\",\"payload\":\"\xff\",\"channel\":\"" + prefix + "a\"}", 400},
		{"too large", "POST", `{"id":"` + strings.Repeat("x", 5000) + `"}`, 413},
		{"GET", "GET", "", 405},
		{"DELETE", "DELETE", "", 405},
	} {
		a := n.request(t, tc.method, "/callbacks", tc.body)
		if a.status != tc.status {
			t.Errorf("%s: answered %d %s, want %d", tc.name, a.status, a.body, tc.status)
			continue
		}
		if a.status >= 400 {
			a.isProblem(t, tc.name)
		} else if a.body != "" {
			t.Errorf("%s: body %q", tc.name, a.body)
		}
		if got, want := a.header["X-Toot-Unsubscribe"], tc.name == "a channel nobody handles"; (got != nil) != want || want && got[0] != "True" {
			t.Errorf("%s: X-Toot-Unsubscribe %q", tc.name, got)
		}
		if a.status == 405 && a.header.Get("Allow") != "POST" {
			t.Errorf("%s: Allow %q", tc.name, a.header.Get("Allow"))
		}
	}
	if lanes := n.lanes(t); len(lanes) != 1 || lanes[0].Waiting != 1 {
		t.Errorf("stored: %+v, want the one event", lanes)
	}
	// A body without a Content-Length.
	req := must2(http.NewRequestWithContext(t.Context(), "POST", n.url+"/callbacks", io.MultiReader(strings.NewReader(event))))
	if a := do(t, n.client, req); a.status != 200 {
		t.Errorf("chunked: %+v", a)
	}
	req = must2(http.NewRequestWithContext(t.Context(), "POST", n.url+"/callbacks", io.MultiReader(strings.NewReader(strings.Repeat(" ", 5000)))))
	if a := do(t, n.client, req); a.status != 413 {
		t.Errorf("chunked and too large: %+v", a)
	}
}

func TestAnEngineThatIsDownIsNeverASuccess(t *testing.T) {
	n := newNode(t, toot.Options{}, false)
	must(t, n.AddSource("publisher", toot.Source{SubscriptionURL: "http://127.0.0.1:1/", ChannelPrefix: prefix}))
	must(t, n.Subscribe("publisher", "a", &recorder{}))
	must(t, n.engine.Close())
	for _, tc := range []struct{ method, path, body string }{
		{"POST", "/callbacks", `{"id":"1","channel":"` + prefix + `a"}`},
		{"POST", "/subscriptions", `{"callback_url":"https://a.example.org/","channel":"c"}`},
		{"GET", "/subscriptions", ""},
		{"DELETE", "/subscriptions?channel=c&callback_url=d", ""},
	} {
		a := n.request(t, tc.method, tc.path, tc.body)
		if a.status != 503 || a.header.Get("Retry-After") == "" {
			t.Errorf("%s %s: answered %+v, want 503 with Retry-After", tc.method, tc.path, a)
		}
		a.isProblem(t, tc.path)
	}
	if _, err := n.Publish(t.Context(), "a", nil); err == nil {
		t.Error("Publish succeeded")
	}
}

// What the publisher says of a registration that it refuses reaches whoever made
// it, but for our own secrets.
func TestRegisterSubscriptionsPassesOnWhatThePublisherSays(t *testing.T) {
	publisher := newNode(t, toot.Options{ChannelPrefix: prefix}, false)
	subscriber := newNode(t, toot.Options{}, false)
	must(t, subscriber.AddSource("publisher", toot.Source{SubscriptionURL: publisher.url + "/subscriptions", ChannelPrefix: "org.example.publisher"})) // no dot
	must(t, subscriber.Subscribe("publisher", "a", &recorder{}))
	if err := subscriber.RegisterSubscriptions(t.Context()); err == nil || !strings.Contains(err.Error(), "422") || !strings.Contains(err.Error(), `begin with "`+prefix+`"`) {
		t.Errorf("the error does not name the prefix: %v", err)
	}
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(422)
		_ = json.NewEncoder(w).Encode(map[string]string{"detail": "What is\n" + string(body) + "?"})
	}))
	t.Cleanup(echo.Close)
	secret := signing.NewSecret()
	for _, tc := range []struct {
		callback string
		secrets  []string
		says     bool
	}{
		{"http://app.example.org/", nil, true},
		{"http://user:pa55word@app.example.org/", nil, false},
		{"http://app.example.org/?token=pa55word", nil, false},
		{"http://app.example.org/", []string{secret}, false},
	} {
		n := newNode(t, toot.Options{CallbackURL: tc.callback}, false)
		must(t, n.AddSource("echo", toot.Source{SubscriptionURL: echo.URL, SigningSecrets: tc.secrets}))
		must(t, n.Subscribe("echo", "a", &recorder{}))
		err := n.RegisterSubscriptions(t.Context())
		if err == nil || strings.Contains(err.Error(), "What is ") != tc.says || strings.Contains(err.Error(), "\n") ||
			strings.Contains(err.Error(), "pa55word") || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", tc.callback, err)
		}
	}
}

func TestRegisterSubscriptionsTellsWhatWentWrong(t *testing.T) {
	peer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case bytes.Contains(body, []byte("busy")):
			w.WriteHeader(503)
		case bytes.Contains(body, []byte("moved")):
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}
	}))
	t.Cleanup(peer.Close)
	for channel, status := range map[string]int{"fine": 0, "busy": 503, "moved": 302} {
		n := newNode(t, toot.Options{}, false)
		must(t, n.AddSource("publisher", toot.Source{SubscriptionURL: peer.URL}))
		must(t, n.Subscribe("publisher", channel, &recorder{}))
		err := n.RegisterSubscriptions(t.Context())
		var statusErr *toot.StatusError
		if status == 0 && err != nil || status != 0 && (!errors.As(err, &statusErr) || statusErr.StatusCode != status || !strings.Contains(err.Error(), channel)) {
			t.Errorf("%s: got %v, want status %d", channel, err, status)
		}
	}
	n := newNode(t, toot.Options{}, false)
	must(t, n.AddSource("publisher", toot.Source{SubscriptionURL: "http://user:secret@127.0.0.1:1/subscriptions?key=secret"}))
	must(t, n.Subscribe("publisher", "a", &recorder{}))
	err := n.RegisterSubscriptions(t.Context())
	var opErr *net.OpError
	if !errors.As(err, &opErr) || strings.Contains(err.Error(), "secret") {
		t.Errorf("a connection failure reached the caller as %v", err)
	}
	app, err := toot.New(n.engine, nil)
	must(t, err)
	must(t, app.AddSource("s", toot.Source{SubscriptionURL: peer.URL}))
	must(t, app.Subscribe("s", "a", &recorder{}))
	if err := app.RegisterSubscriptions(t.Context()); err == nil || !strings.Contains(err.Error(), "CallbackURL") {
		t.Errorf("without a callback URL: %v", err)
	}
	for _, bad := range []toot.Options{{CallbackURL: "callbacks"}, {ChannelPrefix: "a\nb"}} {
		if _, err := toot.New(n.engine, &bad); err == nil {
			t.Errorf("New took %+v", bad)
		}
	}
	if _, err := toot.New(nil, nil); err == nil {
		t.Error("New took no engine")
	}
}
