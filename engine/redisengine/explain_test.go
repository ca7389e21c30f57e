package redisengine_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/watermarkchurch/toot-go/engine/redisengine"
)

// TestAServerOfAnotherKindIsNamedSo, after one try: no other makes Redis of a web
// server.
func TestAServerOfAnotherKindIsNamedSo(t *testing.T) {
	var connections atomic.Int32
	web := httptest.NewUnstartedServer(http.NotFoundHandler())
	web.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	web.Start()
	defer web.Close()
	_, err := redisengine.Open(t.Context(), "redis://"+strings.TrimPrefix(web.URL, "http://"), nil)
	if err == nil || !strings.Contains(err.Error(), "does not speak the protocol of Redis") {
		t.Errorf("a web server is taken for Redis: %v", err)
	}
	if n := connections.Load(); n > 2 { // the client makes one more for other versions of the protocol
		t.Errorf("it was tried %d times", n)
	}
}
