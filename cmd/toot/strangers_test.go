package main_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// subscribeTo subscribes a callback URL with curl and returns the status and
// what was answered.
func (s *server) subscribeTo(channel, callbackURL string) (status, answer string) {
	s.t.Helper()
	return curl(s.t, "-i", "-d", fmt.Sprintf(`{"callback_url":%q,"channel":%q}`, callbackURL, channel), s.url+"/subscriptions")
}

// TestServeSendsWhereItMay: allow-callback is held against what is registered,
// and what was registered before is counted in one line.
func TestServeSendsWhereItMay(t *testing.T) {
	t.Parallel()
	store := "sqlite:" + filepath.Join(t.TempDir(), "toot.db")
	e := newEndpoint(t)
	s := serve(t, "--store", store)
	for _, subscription := range [][2]string{
		{"a", e.URL + "/1"}, {"b", e.URL + "/1"}, {"a", e.URL + "/2"}, {"a", "http://localhost:9/"}, {"c", "http://10.0.0.1/"}, {"c", "http://shop.internal/"},
	} {
		status, body := s.subscribeTo(subscription[0], subscription[1])
		wantStatus(t, "201", status, body)
	}
	s.stop()
	if strings.Contains(s.stderr.String(), "registered callback URLs") {
		t.Errorf("without a policy there is nothing to warn of: %s", s.stderr.String())
	}

	s = serve(t, "--store", store, "--allow-callback", "10.0.0.0/8,*.internal")
	s.await("level=WARN msg=\"toot: some registered callback URLs are not allowed")
	wantContains(t, s.stderr.String(), "callback_urls=3\n")
	for callbackURL, want := range map[string]string{
		e.URL + "/3": "422", "http://localhost:9/": "422", "http://10.1.2.3/": "201", "http://Shop.internal/": "201", "http://169.254.169.254/": "422",
	} {
		status, body := s.subscribeTo("c", callbackURL)
		wantStatus(t, want, status, body)
	}
	wantCode(t, command(t, "publish", "a", "--publisher", s.url), 0)
	s.stop()
	if n := strings.Count(s.stderr.String(), "registered callback URLs"); n != 1 {
		t.Errorf("it was said %d times", n)
	}
	if e.count() != 0 {
		t.Error("an event reached an endpoint that is not allowed")
	}
}

func TestServeOnANetworkAsksWhereToSend(t *testing.T) {
	t.Parallel()
	open := []string{"serve", "--listen", "0.0.0.0:0", "--insecure"}
	for _, args := range [][]string{nil, {"--allow-callback", ""}, {"--allow-callback", ", "}, {"--allow-callback", "everybody/1"}} {
		r := command(t, append(open, args...)...)
		wantCode(t, r, 2)
		wantContains(t, r.stderr, "allow-callback")
		if strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("it says %q, want one line", r.stderr)
		}
	}
	serve(t, "--listen", "0.0.0.0:0", "--insecure", "--allow-callback", "any").stop()
}

// TestServeAsksForConsent: and toot listen gives it.
func TestServeAsksForConsent(t *testing.T) {
	t.Parallel()
	r := command(t, "serve", "--require-consent")
	wantCode(t, r, 2)
	wantContains(t, r.stderr, "public-url")

	asked := make(chan string, 8)
	consents := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodOptions {
			asked <- r.Header.Get("WebHook-Request-Origin")
			w.Header().Set("WebHook-Allowed-Origin", "*")
		}
	}))
	defer consents.Close()
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer silent.Close()
	s := serve(t, "--require-consent", "--public-url", "https://toot.example.org:8443/hooks")
	status, body := s.subscribeTo("a", silent.URL)
	wantStatus(t, "422", status, body)
	status, body = s.subscribeTo("a", consents.URL)
	wantStatus(t, "201", status, body)
	if origin := <-asked; origin != "toot.example.org" {
		t.Errorf("consent was asked for as %q", origin)
	}
	l := start(t, "", "listen", "--channel", "a", "--channel", "b c", "--count", "1", "--publisher", s.url)
	l.await("listening to a, b c")
	wantCode(t, command(t, "publish", "b c", "--publisher", s.url), 0)
	wantCode(t, l.wait(), 0)
	s.stop()
}

// TestServeLetsRegistrationsEnd: unless they are renewed, as toot listen does.
func TestServeLetsRegistrationsEnd(t *testing.T) {
	t.Parallel()
	for _, lease := range []string{"0s", "500ms", "-1h", "soon"} {
		r := command(t, "serve", "--registration-lease", lease)
		wantCode(t, r, 2)
		wantContains(t, r.stderr, "registration-lease")
	}
	e := newEndpoint(t)
	s := serve(t, "--registration-lease", "1s")
	l := start(t, "", "listen", "--channel", "a", "--publisher", s.url)
	l.await("listening to a")
	status, answer := s.subscribeTo("a", e.URL)
	wantStatus(t, "201", status, answer)
	wantContains(t, answer, "X-Toot-Lease: 1\r\n")
	eventually(t, "the registration that is not renewed ends", func() bool {
		return !strings.Contains(command(t, "subscriptions", "--publisher", s.url).stdout, e.URL)
	})
	eventually(t, "the one that is renewed is there", func() bool {
		return strings.Contains(command(t, "subscriptions", "--publisher", s.url).stdout, "http://127.0.0.1:")
	})
	s.stop()
}

// TestServeEndsCircles: events that come back to the channel they came from, two
// for each, end after a few hops, and are in the dead letters at once.
func TestServeEndsCircles(t *testing.T) {
	t.Parallel()
	store := "sqlite:" + filepath.Join(t.TempDir(), "toot.db")
	s := serve(t, "--store", store)
	for _, query := range []string{"?1", "?2"} {
		status, body := s.subscribeTo("loop", s.url+"/publish/loop"+query)
		wantStatus(t, "201", status, body)
	}
	wantCode(t, command(t, "publish", "loop", `{"n":1}`, "--publisher", s.url), 0)
	var dead []map[string]any
	eventually(t, "the circle ends", func() bool {
		dead = objects(t, command(t, "dead", "list", "--json", "--store", store).stdout)
		return len(dead) >= 32 // 2 deliveries of 1, 4 of 2 … 32 of the last 16 events
	})
	eventually(t, "nothing is left to do", func() bool {
		for _, lane := range objects(t, command(t, "stats", "--json", "--store", store).stdout) {
			if lane["waiting"].(float64)+lane["in_flight"].(float64) > 0 {
				return false
			}
		}
		return true
	})
	if dead = objects(t, command(t, "dead", "list", "--json", "--store", store).stdout); len(dead) != 32 {
		t.Errorf("%d dead letters, want 32", len(dead))
	}
	for _, letter := range dead {
		if reason, _ := letter["reason"].(string); !strings.Contains(reason, "hops") {
			t.Errorf("%v", letter)
			break
		}
	}
	_, metrics := curl(t, s.url+"/metrics")
	wantContains(t, metrics, "toot_published_total{outcome=\"ok\"} 31\n")
	wantContains(t, s.stderr.String(), "refused a delivery that came by too many hops")
	s.stop()
}

// TestServeCountsHops: what is published because of a delivery is one hop
// further, and says so; what a person publishes is none.
func TestServeCountsHops(t *testing.T) {
	t.Parallel()
	hops := make(chan string, 1)
	e := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		hops <- strings.Join(r.Header.Values("X-Toot-Hops"), ",")
	}))
	defer e.Close()
	s := serve(t)
	status, body := s.subscribeTo("a", e.URL)
	wantStatus(t, "201", status, body)
	for _, c := range []struct {
		header, value, status, want string
	}{
		{"User-Agent", "curl/8", "202", ""},
		{"User-Agent", "toot", "202", ""}, // toot publish
		{"User-Agent", "toot-go", "202", "1"},
		{"X-Toot-Hops", "0", "202", "1"},
		{"X-Toot-Hops", "1", "202", "2"},
		{"X-Toot-Hops", "3", "202", "4"},
		{"X-Toot-Hops", "4", "422", ""},
		{"X-Toot-Hops", "999999999999", "422", ""},
		{"X-Toot-Hops", "many", "422", ""},
	} {
		status, answer := curl(t, "-i", "-H", c.header+": "+c.value, "-d", "{}", s.url+"/publish/a")
		wantStatus(t, c.status, status, answer)
		if status == "422" {
			wantContains(t, answer, "X-Toot-Hops: 3\r\n", "circle")
			continue
		}
		if got := <-hops; got != c.want {
			t.Errorf("%s: %s became a delivery with %q hops, want %q", c.header, c.value, got, c.want)
		}
	}
	s.stop()
}

// TestListenPassesHopsOn: a circle that leads through toot listen --forward ends.
func TestListenPassesHopsOn(t *testing.T) {
	t.Parallel()
	s := serve(t)
	l := start(t, "", "listen", "--channel", "loop", "--publisher", s.url, "--forward", s.url+"/publish/loop")
	l.await("listening to loop")
	wantCode(t, command(t, "publish", "loop", "--publisher", s.url), 0)
	s.await("refused a delivery that came by too many hops")
	_, metrics := curl(t, s.url+"/metrics")
	wantContains(t, metrics, "toot_published_total{outcome=\"ok\"} 5\n")
	s.signal(syscall.SIGKILL) // what was refused would be sent again
	l.signal(syscall.SIGKILL)
}

// TestServeKeepsPagesOut: a web page that somebody on this machine looks at can
// neither change anything, nor read under a name of its own.
func TestServeKeepsPagesOut(t *testing.T) {
	t.Parallel()
	s := serve(t, "--allow-host", "toot.internal,Other.Internal.", "--public-url", "https://toot.example.org/")
	subscription := `{"callback_url":"http://127.0.0.1:9/","channel":"a"}`
	var seen []string
	try := func(want string, args ...string) string {
		t.Helper()
		args[len(args)-1] = s.url + args[len(args)-1]
		status, body := curl(t, args...)
		if status != want {
			t.Errorf("%s: answered with %s, want %s: %s", strings.Join(args, " "), status, want, body)
		}
		seen = append(seen, body)
		return body
	}
	// Pages of other origins.
	for _, page := range []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: http://evil.example", "Origin: null"} {
		try("403", "-H", page, "-H", "Content-Type: text/plain", "-d", subscription, "/subscriptions")
		try("403", "-H", page, "-H", "Content-Type: text/plain", "-d", "{}", "/publish/a")
		try("403", "-H", page, "-X", "DELETE", "/subscriptions?channel=a&callback_url=http://127.0.0.1:9/")
		try("200", "-H", page, "/readyz")
	}
	for _, own := range []string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: none", "Origin: " + s.url, "Origin: https://toot.example.org"} {
		try("202", "-H", own, "-d", "{}", "/publish/a")
	}
	// Names that are not ours.
	port := s.url[strings.LastIndexByte(s.url, ':'):]
	for _, host := range []string{
		"Host: evil.example", "Host: evil.example" + port, "Host: 127.0.0.1.evil.example", "Host: localhost.evil.example",
		"Host: toot.internal.evil.example", "Host: 127.1" + port, "Host;", // which is how curl sends an empty one
	} {
		for _, path := range []string{"/subscriptions", "/metrics", "/readyz", "/publish/a", "/nothing"} {
			wantContains(t, try("421", "-H", host, path), "--allow-host")
		}
		try("421", "-H", host, "-d", "{}", "/publish/a")
	}
	for _, host := range []string{"localhost" + port, "LOCALHOST", "shop.localhost", "127.0.0.1", "[::1]" + port, "192.168.1.7:80", "toot.internal", "TOOT.internal.:8080", "other.internal", "toot.example.org"} {
		try("200", "-H", "Host: "+host, "/subscriptions")
	}
	for _, body := range seen {
		if strings.Contains(body, `"http://127.0.0.1:9/"`) {
			t.Errorf("a page subscribed: %s", body)
		}
	}
	s.stop()

	// With credentials a name gains nothing, and reverse proxies pass theirs on.
	s = serve(t, "--publish-auth", "a", "--subscriptions-auth", "b", "--metrics-auth", "c")
	try("200", "-H", "Host: toot.example.org", "/readyz")
	s.stop()
	for _, host := range []string{"toot.internal:8080", "http://toot.internal", "*"} {
		wantCode(t, command(t, "serve", "--allow-host", host), 2)
	}
}

// TestServeBoundsItsConnections: those beyond the bound wait, and one whose other
// side does not take its answer is closed in time.
func TestServeBoundsItsConnections(t *testing.T) {
	t.Parallel()
	s := serve(t, "--max-connections", "1", "--read-timeout", "1s", "--write-timeout", "1s")
	http.DefaultClient.CloseIdleConnections()
	dial := func() net.Conn {
		t.Helper()
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	ask := func(conn net.Conn, request string) {
		t.Helper()
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
	}
	answer := func(conn net.Conn) int {
		t.Helper()
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("no answer: %v", err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		return res.StatusCode
	}
	const alive = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
	first, second := dial(), dial()
	ask(first, alive)
	if status := answer(first); status != http.StatusOK {
		t.Fatalf("answered with %d", status)
	}
	ask(second, alive)
	_ = second.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if n, err := second.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Error("a connection beyond the bound was served")
	}
	_ = first.Close()
	if status := answer(second); status != http.StatusOK {
		t.Errorf("once there was room it was answered with %d", status)
	}
	_ = second.Close()

	// More of an answer than the sockets hold, which nobody reads.
	deaf := dial()
	_ = deaf.(*net.TCPConn).SetReadBuffer(4096)
	lines := strings.Repeat("{}\n", 10_000)
	ask(deaf, fmt.Sprintf("POST /publish/%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n%s", strings.Repeat("c", 1000), len(lines), lines))
	other := dial()
	ask(other, alive)
	if status := answer(other); status != http.StatusOK {
		t.Errorf("after it was closed another was answered with %d", status)
	}
	s.stop()
}

// TestServeTakesLongBodies: the time that a body takes is not that of its answer.
func TestServeTakesLongBodies(t *testing.T) {
	t.Parallel()
	const writeTimeout = 400 * time.Millisecond
	s := serve(t, "--write-timeout", writeTimeout.String())
	body, in := io.Pipe()
	go func() {
		for began := time.Now(); time.Since(began) < 3*writeTimeout; time.Sleep(writeTimeout / 8) {
			_, _ = io.WriteString(in, "{\"some\":\"thing\"}\n")
		}
		_ = in.Close()
	}()
	res, err := http.Post(s.url+"/publish/a", "application/x-ndjson", body)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	answers, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusAccepted || strings.Count(string(answers), "\n") < 2 {
		t.Errorf("answered with %d: %s (%v)", res.StatusCode, answers, err)
	}
	s.stop()
}
