package pgengine_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/internal/testing/pages"
	"github.com/watermarkchurch/toot-go/internal/testing/postgrestest"
)

// TestTheREADMEsPublisherOnPostgreSQL builds the publisher of the README with the
// store that the README opens on PostgreSQL, and publishes with it.
func TestTheREADMEsPublisherOnPostgreSQL(t *testing.T) {
	t.Parallel()
	got := make(chan string, 10)
	endpoint := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- string(body)
	}))
	defer endpoint.Close()

	database, address := postgrestest.Database(t), pages.FreeAddress(t)
	source := strings.Replace(pages.Named(t, "README.md", "publisher/main.go"),
		"store, err := sqliteengine.Open(\"publisher.db\", nil)", strings.TrimSpace(pages.Named(t, "README.md", "on postgres")), 1)
	source = strings.NewReplacer("sqliteengine", "pgengine", "postgres://localhost/shop", database, "localhost:8001", address).Replace(source)
	if !strings.Contains(source, database) || !strings.Contains(source, address) {
		t.Fatalf("the program does not open the database, or listens elsewhere:\n%s", source)
	}
	cmd := exec.CommandContext(t.Context(), pages.Build(t, "publisher", source))
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the publisher says: %s", said.String())
		}
	})
	registration := `{"channel":"org.example.publisher.users.updated.v1","callback_url":"` + endpoint.URL + `"}`
	post(t, "http://"+address+"/subscriptions", registration, http.StatusCreated)
	post(t, "http://"+address+"/users/7", "", http.StatusOK)
	select {
	case event := <-got:
		if !strings.Contains(event, `"payload":{"id":"7"}`) {
			t.Errorf("what arrives is %s", event)
		}
	case <-time.After(time.Minute):
		t.Error("nothing arrives")
	}
}

// post sends a request until a server is there that answers it.
func post(t *testing.T, url, body string, want int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		res, err := http.Post(url, "application/json", strings.NewReader(body)) //nolint:gosec // G107: the test's own server
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode != want {
				t.Fatalf("%s was answered with %d, want %d", url, res.StatusCode, want)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}
