package toot_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/signing"
)

// postText is a whole request, as it goes over the connection.
func postText(path, contentType, body string) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: test\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", path, contentType, len(body), body)
}

// dial connects to a node's server.
func (n *node) dial(t testing.TB) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(n.url, "http://"))
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// cost is how many bytes of memory a request allocates until it is answered, and
// how the last of several was answered.
func (n *node) cost(t testing.TB, request []byte) (bytes uint64, a answer) {
	t.Helper()
	conn := n.dial(t)
	in := bufio.NewReader(conn)
	const times = 2
	var before, after runtime.MemStats
	for i := range 2 * times {
		if i == times { // what is made once has been made
			runtime.ReadMemStats(&before)
		}
		_, err := conn.Write(request)
		must(t, err)
		res, err := http.ReadResponse(in, nil)
		must(t, err)
		length, err := io.Copy(io.Discard, res.Body)
		must(t, err)
		a = answer{res.StatusCode, res.Header, fmt.Sprint(length)}
	}
	runtime.ReadMemStats(&after)
	return (after.TotalAlloc - before.TotalAlloc) / times, a
}

// A request costs no more than eight times its body and 64 KiB, whatever is in
// the body.
func TestARequestCostsNoMoreThanItsBody(t *testing.T) {
	const most = 256 << 10 // bytes of one event
	n := newNode(t, toot.Options{MaxEventBytes: most}, false)
	must(t, n.AddSource("open", toot.Source{SubscriptionURL: "http://127.0.0.1:1/"}))
	must(t, n.Subscribe("open", "open", &recorder{}))
	must(t, n.AddSource("signed", toot.Source{SubscriptionURL: "http://127.0.0.1:1/", SigningSecrets: []string{signing.NewSecret()}}))
	must(t, n.Subscribe("signed", "signed", &recorder{}))
	batch := func(count int, element string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(element+",", count), ",") + "]"
	}
	many := func(member string) string {
		return "{" + strings.Repeat(member+",", (most-100)/(len(member)+1)) + `"channel":"open"}`
	}
	short, long := strings.Repeat("x", 200), strings.Repeat("x", 900)
	for _, tc := range []struct {
		name, contentType, body string
		status                  int
	}{
		{"a batch of far more than was offered", batchType, batch(most/2-1, "0"), 413},
		{"a batch of one more than was offered", batchType, batch(257, `{"id":"1","channel":"open"}`), 413},
		{"a batch of no events", batchType, batch(256, "0"), 200},
		{"a batch of events without a channel", batchType, batch(256, "{}"), 200},
		{"a batch of unwanted events", batchType, batch(256, `{"channel":"b"}`), 200},
		{"a batch of events that are not signed", batchType, batch(256, `{"channel":"signed"}`), 200},
		{"a batch of small events", batchType, batch(256, `{"id":"1","channel":"open","payload":"`+short+`"}`), 200}, // which are stored, too
		{"a batch of large events", batchType, batch(256, `{"id":"1","channel":"open","payload":"`+long+`"}`), 200},
		{"a large event", "application/json", `{"id":"2","channel":"open","payload":"` + strings.Repeat("x", most-100) + `"}`, 200},
		{"an event with a large ID", "application/json", `{"channel":"open","id":"` + strings.Repeat("x", most-100) + `"}`, 422},
		{"an event with a large ID of escapes", "application/json", `{"channel":"open","id":"` + strings.Repeat(`\n`, most/2-100) + `"}`, 422},
		{"an event with a large ID of no text", "application/json", `{"channel":"open","id":"` + strings.Repeat("\xff", most-100) + `"}`, 400},
		{"an event on a large channel", "application/json", `{"channel":"` + strings.Repeat("\xff", most-100) + `"}`, 400},
		{"an event of many IDs", "application/json", many(`"id":"\n"`), 422},
		{"an event of many channels", "application/json", many(`"channel":"\u0062"`), 200},
		{"an event of many members", "application/json", many(`"\u0069d":"3"`), 200},
		{"an event of small members", "application/json", many(`"\n":0`), 200},
		{"no JSON", "application/json", strings.Repeat("[", 500) + strings.Repeat("1,", most/2-500), 400},
		{"nothing but brackets", "application/json", strings.Repeat("[", most), 422},
	} {
		cost, a := n.cost(t, postText("/callbacks", tc.contentType, tc.body))
		if a.status != tc.status {
			t.Errorf("%s: answered %d, want %d", tc.name, a.status, tc.status)
		}
		if limit := uint64(8*len(tc.body) + 64<<10); cost > limit {
			t.Errorf("%s: %d bytes cost %d bytes of memory, at most %d may be", tc.name, len(tc.body), cost, limit)
		}
		t.Logf("%s: %d bytes, %d bytes of memory, %s bytes of an answer", tc.name, len(tc.body), cost, a.body)
	}
}

// A batch of more events than was offered is refused as a whole.
func TestABatchOfMoreThanWasOfferedIsRefused(t *testing.T) {
	n := newNode(t, toot.Options{}, false)
	must(t, n.AddSource("publisher", toot.Source{SubscriptionURL: "http://127.0.0.1:1/"}))
	must(t, n.Subscribe("publisher", "a", &recorder{}))
	events := func(count int) string {
		var all []string
		for i := range count {
			all = append(all, fmt.Sprintf(`{"id":"%d","channel":"a"}`, i))
		}
		return "[" + strings.Join(all, ",") + "]"
	}
	a := n.request(t, "POST", "/callbacks", events(257), "Content-Type", batchType)
	if a.status != 413 || a.header.Get("X-Toot-Batch") != "256" || !strings.Contains(a.body, "256") {
		t.Errorf("257 events: %d %s", a.status, a.body)
	}
	a.isProblem(t, "257 events")
	if lanes := n.lanes(t); len(lanes) != 0 {
		t.Errorf("stored: %+v", lanes)
	}
	if a := n.request(t, "POST", "/callbacks", events(256), "Content-Type", batchType); a.status != 200 || a.body != "" {
		t.Errorf("256 events: %d %s", a.status, a.body)
	}
	if lanes := n.lanes(t); len(lanes) != 1 || lanes[0].Waiting != 256 {
		t.Errorf("stored: %+v", lanes)
	}
}

// What a request says of its length costs nothing: memory grows with what has
// arrived.
func TestMemoryGrowsWithWhatArrives(t *testing.T) {
	n := newNode(t, toot.Options{}, false)
	var begun atomic.Int64
	service := n.HandlerService()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun.Add(1)
		service.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const silent = 200
	for range silent {
		conn, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
		must(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		_, err = conn.Write(postText("/", "application/json", strings.Repeat("x", 1<<20))[:200])
		must(t, err)
	}
	eventually(t, "all requests to begin", func() bool { return begun.Load() == silent })
	n.request(t, "POST", "/callbacks", "{}")
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > silent*64<<10 {
		t.Errorf("%d requests of which nearly nothing came take %d bytes", silent, grown)
	}
}

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

// The bodies that are on their way in have a common bound.
func TestBodiesInFlightHaveACommonBound(t *testing.T) {
	const most = 64 << 10 // bytes of one event
	n := newNode(t, toot.Options{MaxEventBytes: most, MaxIntakeBytes: 4 * most}, false)
	must(t, n.AddSource("publisher", toot.Source{SubscriptionURL: "http://127.0.0.1:1/"}))
	must(t, n.Subscribe("publisher", "a", &recorder{}))
	event := `{"id":"1","channel":"a","payload":"` + strings.Repeat("x", most/2) + `"}`
	var read atomic.Int64
	mux := http.NewServeMux()
	mux.Handle("/callbacks", n.HandlerService())
	mux.Handle("/subscriptions", n.SubscriptionsService())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = countedBody{r.Body, &read}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	n.url = server.URL
	for _, path := range []string{"/callbacks", "/subscriptions"} {
		request := postText(path, "application/json", strings.Repeat(" ", most))
		var stalled []net.Conn
		read.Store(0)
		for range 4 {
			conn := n.dial(t)
			stalled = append(stalled, conn)
			_, err := conn.Write(request[:len(request)-1])
			must(t, err)
		}
		eventually(t, "the bodies to arrive", func() bool { return read.Load() == int64(4*(most-1)) })
		a := n.request(t, "POST", "/callbacks", event)
		if a.status != 503 || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: answered %+v", path, a)
		}
		a.isProblem(t, path)
		if a := n.request(t, "POST", "/subscriptions", `{"channel":"c","callback_url":"http://a.example.org/"}`+strings.Repeat(" ", most/2)); a.status != 503 {
			t.Errorf("a registration: %+v", a)
		}
		// Who sends the last byte is served, and makes room.
		for _, conn := range stalled {
			_, err := conn.Write([]byte("{"))
			must(t, err)
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			must(t, err)
			if res.StatusCode != 400 && res.StatusCode != 422 {
				t.Errorf("%s: answered %d", path, res.StatusCode)
			}
			_ = res.Body.Close()
		}
		if a := n.request(t, "POST", "/callbacks", event); a.status != 200 {
			t.Errorf("with room again: %+v", a)
		}
	}
	// Those that hang up leave nothing behind.
	for range 20 {
		conn := n.dial(t)
		_, err := conn.Write(postText("/callbacks", "application/json", event)[:most/4])
		must(t, err)
		must(t, conn.Close())
	}
	eventually(t, "an event to be taken", func() bool { return n.request(t, "POST", "/callbacks", event).status == 200 })
	// A body of unknown length may be as large as any.
	all := append([]byte(event), bytes.Repeat([]byte(" "), most-len(event))...)
	eventually(t, "a body of unknown length to be taken", func() bool {
		req := must2(http.NewRequestWithContext(t.Context(), "POST", n.url+"/callbacks", io.MultiReader(bytes.NewReader(all))))
		return do(t, n.client, req).status == 200
	})
}
