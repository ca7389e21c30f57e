package outbound

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// However an endpoint is reached, the header of its answer has a bound.
func TestHeadersOfAnswersAreBounded(t *testing.T) {
	var header atomic.Int64
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for n := header.Load(); n > 0; n -= 1 << 10 {
			w.Header().Add("A", strings.Repeat("a", 1<<10-len("A: \r\n")))
		}
	})
	plain, secure := httptest.NewServer(handler), httptest.NewUnstartedServer(handler)
	secure.EnableHTTP2 = true
	secure.StartTLS()
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	trusting := secure.Client().Transport.(*http.Transport)
	loopback := &Policy{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	for name, tc := range map[string]struct {
		config   Config
		url      string
		bodySize int
	}{
		"a small request":               {Config{}, plain.URL, 100},
		"a large one":                   {Config{}, plain.URL, 100 << 10},
		"a client without a transport":  {Config{Base: &http.Client{}}, plain.URL, 100 << 10},
		"a policy":                      {Config{Policy: loopback}, plain.URL, 100},
		"a policy and a large request":  {Config{Policy: loopback}, plain.URL, 100 << 10},
		"HTTP/2, a policy, a transport": {Config{Policy: loopback, Base: &http.Client{Transport: trusting}}, secure.URL, 100},
	} {
		tc.config.MaxConns, tc.config.Timeout = 4, time.Minute
		client, err := New(tc.config)
		if err != nil {
			t.Fatal(err)
		}
		post := func() error {
			_, err := client.Post(t.Context(), NewEndpoint(tc.url, nil), make([]byte, tc.bodySize), func(http.Header) {})
			return err
		}
		header.Store(48 << 10)
		if err := post(); err != nil {
			t.Errorf("%s: an answer with a header of 48 KiB: %v", name, err)
		}
		header.Store(80 << 10)
		if err := post(); err == nil || IsTimeout(err) {
			t.Errorf("%s: an answer with a header of 80 KiB: %v", name, err)
		}
		client.CloseIdle()
	}
}
