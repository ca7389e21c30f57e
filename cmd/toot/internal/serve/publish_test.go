package serve

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine"
)

// countedBody counts what is read of a request's body.
type countedBody struct {
	io.ReadCloser
	read *atomic.Int64
}

func (b countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.read.Add(int64(n))
	return n, err
}

// What is being published has a common bound, whether it is one event a request
// or many.
func TestWhatIsBeingPublishedHasACommonBound(t *testing.T) {
	store, err := sqliteengine.Open(filepath.Join(t.TempDir(), "toot.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	const largest, most = 256 << 10, 3 << 20
	log := slog.New(slog.DiscardHandler)
	app, err := toot.New(store, &toot.Options{MaxEventBytes: largest, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	handler := New(app, Options{Memory: store, Dedupe: time.Hour, MaxEventBytes: largest, MaxIntakeBytes: most, Logger: log}).Handler()
	var read atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = countedBody{r.Body, &read}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		server.Close()
		_ = app.Close()
		_ = store.Close()
	})
	publish := func(contentType, body string) (status int, retryAfter string) {
		t.Helper()
		res, err := http.Post(server.URL+"/publish/a", contentType, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode, res.Header.Get("Retry-After")
	}
	line := `"` + strings.Repeat("x", 1021) + `"` + "\n"
	for _, tc := range []struct {
		contentType, line string
		size              int
	}{{"application/json", " ", largest}, {"application/x-ndjson", line, 1 << 20}} {
		read.Store(0)
		body := strings.Repeat(tc.line, tc.size/len(tc.line))
		var stalled []net.Conn
		for range most / len(body) {
			conn, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			stalled = append(stalled, conn)
			if _, err := fmt.Fprintf(conn, "POST /publish/a HTTP/1.1\r\nHost: test\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", tc.contentType, len(body), body[1:]); err != nil {
				t.Fatal(err)
			}
		}
		for deadline := time.Now().Add(30 * time.Second); read.Load() < int64(len(stalled)*(len(body)-1)); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the bodies did not arrive")
			}
		}
		for _, contentType := range []string{"application/json", "application/x-ndjson"} {
			if status, after := publish(contentType, "1"); status != http.StatusServiceUnavailable || after == "" {
				t.Errorf("%s while %s is under way: answered %d, Retry-After %q", contentType, tc.contentType, status, after)
			}
		}
		for _, conn := range stalled { // the last byte makes no JSON of them
			if _, err := io.WriteString(conn, "{"); err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
		}
		if status, _ := publish("application/x-ndjson", line+line); status != http.StatusAccepted {
			t.Errorf("with room again: answered %d", status)
		}
	}
	// What never has room is not to be sent again.
	if status, _ := publish("application/x-ndjson", strings.Repeat("1\n", 4000)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("4,000 lines: answered %d", status)
	}
	if status, _ := publish("application/x-ndjson", strings.Repeat(line, 600)); status != http.StatusAccepted {
		t.Errorf("600 lines of 1 KiB: answered %d", status)
	}
}
