package serve

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
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

	running := newServer(t, "", true)
	guarded := newServer(t, "token", true)
	broken := newServer(t, "", true)
	broken.close()
	idle := newServer(t, "", false)

	const callback = `{"callback_url":"https://app.example.org/callbacks","channel":"users"}`
	const where = "/subscriptions?channel=users&callback_url=https%3A%2F%2Fapp.example.org%2Fcallbacks"
	ndjson := http.Header{"Content-Type": {"application/x-ndjson"}}
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
		{running, "POST", "/publish/users", nil, `{`, 400},
		{running, "POST", "/publish/users", ndjson, "{\n", 400},
		{guarded, "POST", "/publish/users", nil, `1`, 401},
		{running, "POST", "/publish/users", nil, strings.Repeat("1", 2000), 413},
		{running, "POST", "/publish/" + strings.Repeat("c", 1025), nil, `1`, 422},
		{broken, "POST", "/publish/users", nil, `1`, 503},
		{running, "POST", "/subscriptions", nil, callback, 201},
		{running, "POST", "/subscriptions", nil, callback, 204},
		{guarded, "POST", "/subscriptions", nil, callback, 401},
		{running, "POST", "/subscriptions", nil, strings.Repeat(" ", 2000), 413},
		{running, "POST", "/subscriptions", nil, `{}`, 422},
		{broken, "POST", "/subscriptions", nil, callback, 503},
		{running, "GET", "/subscriptions", nil, "", 200},
		{guarded, "GET", "/subscriptions", nil, "", 401},
		{running, "GET", "/subscriptions", http.Header{"Accept": {"text/html"}}, "", 406},
		{broken, "GET", "/subscriptions", nil, "", 503},
		{running, "DELETE", where, nil, "", 204},
		{running, "DELETE", where, nil, "", 404},
		{running, "DELETE", "/subscriptions?channel=users", nil, "", 400},
		{guarded, "DELETE", where, nil, "", 401},
		{broken, "DELETE", where, nil, "", 503},
		{broken, "GET", "/healthz", nil, "", 200},
		{running, "GET", "/readyz", nil, "", 200},
		{broken, "GET", "/readyz", nil, "", 503},
		{idle, "GET", "/readyz", nil, "", 503},
		{running, "GET", "/metrics", nil, "", 200},
		{guarded, "GET", "/metrics", nil, "", 401},
		{running, "GET", "/openapi.yaml", nil, "", 200},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, c.server.URL+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = c.header.Clone()
		if req.Header == nil {
			req.Header = http.Header{}
		}
		if req.Header.Get("Content-Type") == "" && c.body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		name := c.method + " " + c.path[:min(len(c.path), 40)]
		if err != nil || res.StatusCode != c.want {
			t.Errorf("%s: answered with %d, want %d: %s (%v)", name, res.StatusCode, c.want, body, err)
			continue
		}
		operation, err := answers(doc, req, res, body)
		if err != nil {
			t.Errorf("%s: the answer %d %s is not as described: %v", name, res.StatusCode, body, err)
		}
		seen[operation+" "+res.Status[:3]] = true
	}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			for status := range operation.Responses.Map() {
				if name := operation.OperationID + " " + status; !seen[name] && !slices.Contains(otherwiseTested, name) {
					t.Errorf("%s %s: nothing was answered with %s, which is described", method, path, status)
				}
			}
		}
	}
}

// otherwiseTested are answers that the router of the test has no operation
// for: another method, another path.
var otherwiseTested = []string{"publish 404", "publish 405"}

// answers holds an answer against the description.
func answers(doc *openapi3.T, req *http.Request, res *http.Response, body []byte) (operation string, err error) {
	relative := *doc
	relative.Servers = nil
	router, err := gorillamux.NewRouter(&relative)
	if err != nil {
		return "", err
	}
	plain, err := http.NewRequestWithContext(context.Background(), req.Method, req.URL.RequestURI(), nil)
	if err != nil {
		return "", err
	}
	plain.Header = req.Header
	route, params, err := router.FindRoute(plain)
	if err != nil {
		return "", err
	}
	in := &openapi3filter.RequestValidationInput{Request: plain, PathParams: params, Route: route}
	out := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: res.StatusCode, Header: res.Header,
		Body:    io.NopCloser(bytes.NewReader(body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}
	return route.Operation.OperationID, openapi3filter.ValidateResponse(context.Background(), out)
}

// testServer is a Server on a store of its own.
type testServer struct {
	*httptest.Server
	app   *toot.App
	store *sqliteengine.Engine
}

func (s *testServer) close() { _ = s.store.Close() }

// newServer starts a server, guarded by a credential unless that is empty.
func newServer(t *testing.T, credential string, work bool) *testServer {
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
	s := New(app, Options{Publish: guard, Subscriptions: guard, Metrics: guard, MetricsHandler: metrics, Memory: store, Dedupe: time.Hour, MaxEventBytes: 1500, Logger: log})
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	if work {
		go func() { ended <- app.Run(ctx) }()
		waitUntilRunning(t, app)
	} else {
		ended <- nil
	}
	server := httptest.NewServer(s.Handler())
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
