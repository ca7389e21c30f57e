package serve

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine"
)

// TestDescriptionHolds sends requests to a running server, and holds what it
// answers against the description. Every answer that is described has to occur.
func TestDescriptionHolds(t *testing.T) {
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromData(description)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(loader.Context); err != nil {
		t.Fatal(err)
	}
	openapi3filter.RegisterBodyDecoder("application/problem+json", openapi3filter.JSONBodyDecoder)
	openapi3filter.RegisterBodyDecoder("application/x-ndjson", openapi3filter.PlainBodyDecoder)

	running := newServer(t, "", true, 0)
	guarded := newServer(t, "token,narrow prefix=own.", true, 0)
	broken := newServer(t, "", true, 0)
	broken.close()
	idle := newServer(t, "", false, 0)
	page, named := http.Header{"Sec-Fetch-Site": {"cross-site"}}, http.Header{"Host": {"toot.internal"}}

	const callback = `{"callback_url":"https://app.example.org/callbacks","channel":"users"}`
	const where = "/subscriptions?channel=users&callback_url=https%3A%2F%2Fapp.example.org%2Fcallbacks"
	secret := func(b byte) string {
		return `{"callback_url":"https://signed.example.org/","channel":"users","signing_secret":"whsec_` +
			base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32)) + `"}`
	}
	ndjson := http.Header{"Content-Type": {"application/x-ndjson"}}
	packed := http.Header{"Content-Encoding": {"gzip"}}
	token, narrow := http.Header{"Authorization": {"Bearer token"}}, http.Header{"Authorization": {"Bearer narrow"}}
	nested := strings.Repeat("[", 600) + strings.Repeat("]", 600)
	seen := map[string]bool{}
	for _, c := range []struct {
		server       *testServer
		method, path string
		header       http.Header
		body         string
		want         int
	}{
		{running, "POST", "/publish/users", nil, `{"id":1}`, 202},
		{running, "POST", "/publish/users", nil, ``, 202},
		{running, "POST", "/publish/users", http.Header{"Idempotency-Key": {"k"}}, `1`, 202},
		{running, "POST", "/publish/users", ndjson, "1\n2\n", 202},
		{running, "POST", "/publish/users", http.Header{"X-Toot-After": {"10m"}, "Idempotency-Key": {"later"}}, `1`, 202},
		{running, "POST", "/publish/users", http.Header{"X-Toot-After": {"tomorrow"}}, `1`, 400},
		{running, "POST", "/publish/users", http.Header{"X-Toot-After": {"100000h"}}, `1`, 422},
		{guarded, "POST", "/publish/users", token, `1`, 202},
		{running, "POST", "/publish/users", nil, `{`, 400},
		{running, "POST", "/publish/users", ndjson, "{\n", 400},
		{running, "POST", "/publish/users", http.Header{"Idempotency-Key": {strings.Repeat("k", 256)}}, "1", 400},
		{guarded, "POST", "/publish/users", nil, `1`, 401},
		{running, "POST", "/publish/users", nil, strings.Repeat("1", 2000), 413},
		{running, "POST", "/publish/users", packed, "1", 415},
		{running, "POST", "/publish/" + strings.Repeat("c", 1025), nil, `1`, 422},
		{running, "POST", "/publish/users", nil, nested, 422},
		{running, "POST", "/publish/users", http.Header{"X-Toot-Hops": {"3"}}, "1", 202},
		{running, "POST", "/publish/users", http.Header{"X-Toot-Hops": {"4"}}, "1", 422},
		{running, "POST", "/publish/users", page, "1", 403},
		{running, "POST", "/publish/users", named, "1", 421},
		{broken, "POST", "/publish/users", nil, `1`, 503},
		{broken, "POST", "/publish/users", http.Header{"Idempotency-Key": {"k"}}, `1`, 503},
		{running, "POST", "/subscriptions", nil, callback, 201},
		{running, "POST", "/subscriptions", nil, callback, 204},
		{running, "POST", "/subscriptions", nil, secret(1), 201},
		{running, "POST", "/subscriptions", nil, secret(2), 204}, // the first one has not been answered for
		{guarded, "POST", "/publish/others", narrow, `1`, 403},
		{guarded, "POST", "/subscriptions", nil, callback, 401},
		{running, "POST", "/subscriptions", nil, strings.Repeat(" ", 2000), 413},
		{running, "POST", "/subscriptions", packed, callback, 415},
		{running, "POST", "/subscriptions", nil, `{}`, 422},
		{broken, "POST", "/subscriptions", nil, callback, 503},
		{running, "POST", "/subscriptions", page, callback, 403},
		{running, "POST", "/subscriptions", named, callback, 421},
		{running, "GET", "/subscriptions", nil, "", 200},
		{running, "GET", "/subscriptions", page, "", 200},
		{running, "GET", "/subscriptions", named, "", 421},
		{guarded, "GET", "/subscriptions", nil, "", 401},
		{running, "GET", "/subscriptions", http.Header{"Accept": {"text/html"}}, "", 406},
		{broken, "GET", "/subscriptions", nil, "", 503},
		{running, "DELETE", where, nil, "", 204},
		{running, "DELETE", where, nil, "", 404},
		{running, "DELETE", "/subscriptions?channel=users", nil, "", 400},
		{guarded, "DELETE", where, nil, "", 401},
		{running, "DELETE", where, page, "", 403},
		{running, "DELETE", where, named, "", 421},
		{broken, "DELETE", where, nil, "", 503},
		{broken, "GET", "/healthz", nil, "", 200},
		{running, "GET", "/readyz", nil, "", 200},
		{broken, "GET", "/readyz", nil, "", 503},
		{idle, "GET", "/readyz", nil, "", 503},
		{running, "GET", "/metrics", nil, "", 200},
		{guarded, "GET", "/metrics", nil, "", 401},
		{running, "GET", "/openapi.yaml", nil, "", 200},
		{running, "GET", "/healthz", named, "", 421},
		{running, "GET", "/readyz", named, "", 421},
		{running, "GET", "/metrics", named, "", 421},
		{running, "GET", "/openapi.yaml", named, "", 421},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, c.server.URL+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = c.header.Clone()
		if req.Header == nil {
			req.Header = http.Header{}
		}
		req.Host = req.Header.Get("Host")
		if req.Header.Get("Content-Type") == "" && c.body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		seen[hold(t, doc, req, c.body, res, c.want)] = true
	}
	// Bodies that stop in the middle, and connections that do.
	slow := newServer(t, "", true, 500*time.Millisecond)
	for _, path := range []string{"/publish/users", "/subscriptions"} {
		for want, ends := range map[int]bool{http.StatusRequestTimeout: false, http.StatusBadRequest: true} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, slow.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			seen[hold(t, doc, req, "", sendHalf(t, req, ends), want)] = true
		}
	}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			for status := range operation.Responses.Map() {
				if !seen[operation.OperationID+" "+status] {
					t.Errorf("%s %s: nothing was answered with %s, which is described", method, path, status)
				}
			}
		}
	}
}

// hold holds an answer against the description, and the request too if it was
// granted. It returns the operation and the status.
func hold(t *testing.T, doc *openapi3.T, req *http.Request, sent string, res *http.Response, want int) string {
	t.Helper()
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	name := req.Method + " " + req.URL.Path[:min(len(req.URL.Path), 40)]
	if err != nil || res.StatusCode != want {
		t.Errorf("%s: answered with %d, want %d: %s (%v)", name, res.StatusCode, want, body, err)
		return ""
	}
	relative := *doc
	relative.Servers = nil
	router, err := gorillamux.NewRouter(&relative)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := http.NewRequestWithContext(context.Background(), req.Method, req.URL.RequestURI(), strings.NewReader(sent))
	if err != nil {
		t.Fatal(err)
	}
	plain.Header = req.Header
	route, params, err := router.FindRoute(plain)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return ""
	}
	in := &openapi3filter.RequestValidationInput{
		Request: plain, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	if res.StatusCode < 300 {
		if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil {
			t.Errorf("%s: a request that was granted is not as described: %v", name, err)
		}
	}
	out := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: res.StatusCode, Header: res.Header,
		Body:    io.NopCloser(bytes.NewReader(body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}
	if err := openapi3filter.ValidateResponse(context.Background(), out); err != nil {
		t.Errorf("%s: the answer %d %s is not as described: %v", name, res.StatusCode, body, err)
	}
	return route.Operation.OperationID + " " + strconv.Itoa(res.StatusCode)
}

// sendHalf sends a request whose body stops in the middle, and may end there.
func sendHalf(t *testing.T, req *http.Request, ends bool) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", req.URL.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", req.URL.Path); err != nil {
		t.Fatal(err)
	}
	if ends {
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// testServer is a Server on a store of its own.
type testServer struct {
	*httptest.Server
	app   *toot.App
	store *sqliteengine.Engine
}

func (s *testServer) close() { _ = s.store.Close() }

// newServer starts a server, guarded by a credential unless that is empty.
func newServer(t *testing.T, credential string, work bool, readTimeout time.Duration) *testServer {
	t.Helper()
	store, err := sqliteengine.Open(filepath.Join(t.TempDir(), "toot.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	app, err := toot.New(store, &toot.Options{MaxEventBytes: 1500, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	guard, err := NewGuard(credential)
	if err != nil {
		t.Fatal(err)
	}
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = io.WriteString(w, "# nothing\n")
	})
	s := New(app, Options{Publish: guard, Subscriptions: guard, Metrics: guard, MetricsHandler: metrics, Memory: store, Dedupe: time.Hour, MaxEventBytes: 1500, CheckHost: credential == "", Logger: log})
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	if work {
		go func() { ended <- app.Run(ctx) }()
		waitUntilRunning(t, app)
	} else {
		ended <- nil
	}
	server := httptest.NewUnstartedServer(s.Handler())
	server.Config.ReadTimeout = readTimeout
	server.Start()
	t.Cleanup(func() {
		server.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = app.Close()
		_ = store.Close()
	})
	return &testServer{server, app, store}
}

func waitUntilRunning(t *testing.T, app *toot.App) {
	t.Helper()
	for !app.Health(t.Context()).Running {
		if t.Context().Err() != nil {
			t.Fatal("it does not run")
		}
	}
}
