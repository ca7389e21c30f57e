package h1_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/internal/h1"
)

// quick is a Transport with limits that a test can reach.
func quick(t *testing.T, change ...func(*http.Transport)) *h1.Transport {
	next := http.DefaultTransport.(*http.Transport).Clone()
	next.DisableCompression = true
	for _, c := range change {
		c(next)
	}
	q := h1.New(next)
	t.Cleanup(q.CloseIdleConnections)
	return q
}

func post(ctx context.Context, t *testing.T, rt http.RoundTripper, url, body string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	return rt.RoundTrip(req)
}

// text reads an answer to its end.
func text(t *testing.T, res *http.Response, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// server counts its connections.
type server struct {
	*httptest.Server
	conns atomic.Int32
	open  atomic.Int32
}

func serve(t *testing.T, h http.HandlerFunc) *server {
	s := &server{Server: httptest.NewUnstartedServer(h)}
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			s.conns.Add(1)
			s.open.Add(1)
		case http.StateClosed:
			s.open.Add(-1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// script is a server that says for each request of each connection, both from
// 0, what to send back; "" closes the connection.
func script(t *testing.T, answer func(conn, request int) string) (url string, requests *atomic.Int32) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	requests = new(atomic.Int32)
	var all sync.WaitGroup
	var conns []net.Conn
	all.Go(func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				for _, c := range conns {
					_ = c.Close()
				}
				return
			}
			conns = append(conns, c)
			all.Go(func() {
				defer func() { _ = c.Close() }()
				in := bufio.NewReader(c)
				for i := 0; ; i++ {
					req, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, req.Body)
					requests.Add(1)
					text := answer(n, i)
					if text == "" {
						return
					}
					text, hangUp := strings.CutSuffix(text, "HANG UP")
					if _, err := io.WriteString(c, text); err != nil || hangUp {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return "http://" + l.Addr().String(), requests
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func TestConnectionsAreUsedAgain(t *testing.T) {
	bodies := map[string]http.HandlerFunc{
		"none":  func(http.ResponseWriter, *http.Request) {},
		"sized": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") },
		"chunked": func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, "hello")
		},
		"204": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"after 103": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			_, _ = io.WriteString(w, "hello")
		},
	}
	for name, h := range bodies {
		t.Run(name, func(t *testing.T) {
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if b, _ := io.ReadAll(r.Body); string(b) != "{}" {
					t.Errorf("the body arrived as %q", b)
				}
				h(w, r)
			})
			q := quick(t)
			for range 3 {
				res, err := post(t.Context(), t, q, s.URL, "{}")
				if got := text(t, res, err); got != "" && got != "hello" {
					t.Errorf("got %q", got)
				}
			}
			if n := s.conns.Load(); n != 1 {
				t.Errorf("%d connections for three requests", n)
			}
		})
	}
}

func TestConnectionsThatAreOfNoMoreUse(t *testing.T) {
	for name, answer := range map[string]string{
		"the server closes": "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.0":          "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"until it ends":     "HTTP/1.1 200 OK\r\n\r\nokHANG UP",
		"more than asked":   ok + "HTTP/1.1 200 OK\r\n",
		"switched":          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: upgrade\r\n\r\nHANG UP",
	} {
		t.Run(name, func(t *testing.T) {
			var conns atomic.Int32
			u, _ := script(t, func(conn, request int) string {
				if request > 0 {
					t.Error("it was used again")
				}
				conns.Store(int32(conn))
				return answer
			})
			q := quick(t)
			for range 3 {
				res, err := post(t.Context(), t, q, u, "{}")
				if got := text(t, res, err); got != "ok" && res.StatusCode != http.StatusSwitchingProtocols {
					t.Errorf("got %q", got)
				}
			}
			if conns.Load() != 2 {
				t.Errorf("the last connection has number %d", conns.Load())
			}
		})
	}
}

func TestAnUnreadBodyCostsTheConnection(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 10_000)) })
	q := quick(t)
	for range 2 {
		res, err := post(t.Context(), t, q, s.URL, "{}")
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if _, err := res.Body.Read(make([]byte, 1)); err == nil {
			t.Error("it can be read after it was closed")
		}
	}
	if n := s.conns.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

// A server may close an idle connection whenever it likes.
func TestAConnectionClosedMeanwhileIsReplaced(t *testing.T) {
	u, requests := script(t, func(_, request int) string {
		if request == 1 {
			return "" // it takes the request, and says nothing
		}
		return ok
	})
	q := quick(t)
	for i := range 4 {
		res, err := post(t.Context(), t, q, u, "{}")
		if got := text(t, res, err); got != "ok" {
			t.Errorf("request %d got %q", i, got)
		}
	}
	if n := requests.Load(); n != 4+3 {
		t.Errorf("%d requests arrived", n)
	}
}

// What comes without having been asked for is not the answer to the next
// request.
func TestWhatComesUnaskedIsNoAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	conns := make(chan net.Conn, 2)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns <- c
			go func() {
				if req, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					_, _ = io.Copy(io.Discard, req.Body)
					_, _ = io.WriteString(c, ok)
				}
			}()
		}
	}()
	q := quick(t)
	res, err := post(t.Context(), t, q, "http://"+l.Addr().String(), "{}")
	text(t, res, err)
	first := <-conns
	if _, err := io.WriteString(first, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	res, err = post(t.Context(), t, q, "http://"+l.Addr().String(), "{}")
	if got := text(t, res, err); got != "ok" {
		t.Errorf("got %d %q", res.StatusCode, got)
	}
}

func TestAFreshConnectionThatIsClosedIsAnError(t *testing.T) {
	u, requests := script(t, func(int, int) string { return "" })
	if _, err := post(t.Context(), t, quick(t), u, "{}"); err == nil || requests.Load() != 1 {
		t.Errorf("%v after %d requests", err, requests.Load())
	}
}

func TestAnAnswerThatBreaksOffIsNotAskedForAgain(t *testing.T) {
	u, requests := script(t, func(_, request int) string {
		if request == 0 {
			return ok
		}
		return "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nHANG UP"
	})
	q := quick(t)
	res, err := post(t.Context(), t, q, u, "{}")
	text(t, res, err)
	if _, err := post(t.Context(), t, q, u, "{}"); err == nil || requests.Load() != 2 {
		t.Errorf("%v after %d requests", err, requests.Load())
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for name, answer := range map[string]string{
		"garbage":      "SSH-2.0-OpenSSH_9.2\r\n\r\n",
		"huge header":  "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 64<<10) + "\r\n\r\n",
		"many headers": "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n", 1_600) + "\r\n",
		"endless 1xx":  strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 100),
	} {
		t.Run(name, func(t *testing.T) {
			u, _ := script(t, func(int, int) string { return answer })
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if _, err := post(ctx, t, quick(t), u, "{}"); err == nil || ctx.Err() != nil {
				t.Errorf("%v, %v", err, ctx.Err())
			}
		})
	}
}

func TestTimeouts(t *testing.T) {
	release := make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/body" {
			_, _ = io.WriteString(w, "begins")
			_ = http.NewResponseController(w).Flush()
		}
		<-release
	})
	defer close(release)
	q := quick(t)
	for _, path := range []string{"/header", "/body"} {
		for want, end := range map[error]func(context.Context) (context.Context, context.CancelFunc){
			context.DeadlineExceeded: func(ctx context.Context) (context.Context, context.CancelFunc) {
				return context.WithTimeout(ctx, 30*time.Millisecond)
			},
			context.Canceled: func(ctx context.Context) (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(ctx)
				time.AfterFunc(30*time.Millisecond, cancel)
				return ctx, cancel
			},
		} {
			ctx, cancel := end(t.Context())
			res, err := post(ctx, t, q, s.URL+path, "{}")
			if err == nil {
				_, err = io.ReadAll(res.Body)
			}
			if !errors.Is(err, want) {
				t.Errorf("%s: %v instead of %v", path, err, want)
			}
			cancel()
		}
	}
}

// What goes over the wire is what net/http would send.
func TestRequestsAreThoseOfNetHTTP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	seen := make(chan string)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			var b [4096]byte
			n, _ := io.ReadAtLeast(c, b[:], 1)
			for !bytes.HasSuffix(b[:n], []byte("the end")) {
				m, err := c.Read(b[n:])
				if n += m; err != nil {
					break
				}
			}
			_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
			_ = c.Close()
			seen <- string(b[:n])
		}
	}()
	next := http.DefaultTransport.(*http.Transport).Clone()
	next.DisableCompression = true
	for _, target := range []string{"http://HOST/callbacks", "http://HOST", "http://HOST/a%2Fb?q=1&r=ä#part", "http://user:secret@HOST/x"} {
		var got [2]string
		for i, rt := range []http.RoundTripper{next, h1.New(next)} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, strings.Replace(target, "HOST", l.Addr().String(), 1), strings.NewReader(`{"id":1} the end`))
			if err != nil {
				t.Fatal(err)
			}
			req.Header["User-Agent"] = []string{"toot-go"}
			req.Header["Content-Type"] = []string{"application/json"}
			req.Header["X-Many"] = []string{"one", "two"}
			res, err := rt.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			got[i] = <-seen
		}
		if got[0] != got[1] {
			t.Errorf("%s:\n%q\ninstead of\n%q", target, got[1], got[0])
		}
	}
}

// What is not plain and small is http.Transport's.
func TestTheRestGoesToNetHTTP(t *testing.T) {
	refusal := errors.New("not from here")
	q := quick(t, func(next *http.Transport) {
		next.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, refusal }
		next.DialTLSContext = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("by TLS") }
	})
	if _, err := post(t.Context(), t, q, "https://127.0.0.1:1/", "{}"); err == nil || err.Error() != "by TLS" {
		t.Errorf("https: %v", err)
	}
	if _, err := post(t.Context(), t, q, "http://127.0.0.1:1/", "{}"); !errors.Is(err, refusal) {
		t.Errorf("DialContext was not asked: %v", err)
	}
	if _, err := post(t.Context(), t, q, "ftp://127.0.0.1/", "{}"); err == nil {
		t.Error("ftp was fine")
	}

	proxy := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "proxy of "+r.RequestURI) })
	proxied := quick(t, func(next *http.Transport) {
		next.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(proxy.URL) }
	})
	res, err := post(t.Context(), t, proxied, "http://shop.example/callbacks", "{}")
	if got := text(t, res, err); got != "proxy of http://shop.example/callbacks" {
		t.Errorf("got %q", got)
	}

	large := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprint(w, n)
	})
	for _, size := range []int{1, 16 << 10, 16<<10 + 1, 4 << 20} {
		res, err := post(t.Context(), t, quick(t), large.URL, strings.Repeat("x", size))
		if got := text(t, res, err); got != fmt.Sprint(size) {
			t.Errorf("%s of %d bytes arrived", got, size)
		}
	}
}

func TestIdleConnections(t *testing.T) {
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			time.Sleep(20 * time.Millisecond) // so that they overlap
		}
	})
	other := serve(t, func(http.ResponseWriter, *http.Request) {})
	many := func(q *h1.Transport) {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				res, err := post(t.Context(), t, q, s.URL+"/slow", "{}")
				text(t, res, err)
			})
		}
		all.Wait()
	}
	settle := func(want int32, what string) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); s.open.Load() != want; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: %d connections are open instead of %d", what, s.open.Load(), want)
			}
		}
	}

	q := quick(t, func(next *http.Transport) { next.MaxIdleConnsPerHost = 3 })
	many(q)
	settle(3, "per host")
	q.CloseIdleConnections()
	settle(0, "closed")

	q = quick(t, func(next *http.Transport) { next.MaxIdleConns = 2; next.MaxIdleConnsPerHost = 8 })
	many(q)
	settle(2, "in all")
	for range 2 {
		res, err := post(t.Context(), t, q, other.URL, "{}")
		text(t, res, err)
	}
	settle(1, "the oldest goes")
	q.CloseIdleConnections()
	settle(0, "closed")

	q = quick(t, func(next *http.Transport) { next.IdleConnTimeout = 50 * time.Millisecond })
	many(q)
	settle(0, "of age")
}

// Requests that end at any moment, by any means, leave nothing behind and
// never get the answer to another.
func TestNoAnswerIsMixedUp(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		switch n := rand.IntN(20); {
		case n == 0:
			panic(http.ErrAbortHandler)
		case n < 4:
			time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond)
		}
		_, _ = w.Write(b)
	})
	q := quick(t)
	var all sync.WaitGroup
	var good atomic.Int32
	for g := range 8 {
		all.Go(func() {
			for i := range 300 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(3000))*time.Microsecond)
				want := fmt.Sprintf("%d-%d", g, i)
				res, err := post(ctx, t, q, s.URL, want)
				if err == nil {
					var b []byte
					if b, err = io.ReadAll(res.Body); err == nil {
						good.Add(1)
						if string(b) != want {
							t.Errorf("%s got the answer to %s", want, b)
						}
					}
					_ = res.Body.Close()
				}
				cancel()
			}
		})
	}
	all.Wait()
	if good.Load() == 0 {
		t.Error("no request succeeded")
	}
}
