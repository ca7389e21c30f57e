package toot_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
)

// target is a server that nobody should reach.
type target struct {
	*httptest.Server
	requests    atomic.Int64
	connections atomic.Int64
}

func newTarget(t *testing.T) *target {
	t.Helper()
	s := &target{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { s.requests.Add(1) }))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.connections.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// untouched fails if somebody has connected.
func (s *target) untouched(t *testing.T) {
	t.Helper()
	if n := s.connections.Load(); n != 0 {
		t.Errorf("%d connections were made to an address that is not allowed", n)
	}
}

// failures waits until a delivery has failed and returns why.
func (n *node) failures(t *testing.T) string {
	t.Helper()
	var reason string
	eventually(t, "a delivery given up", func() bool {
		letters, err := n.DeadLetters(context.Background(), engine.DeadQuery{})
		must(t, err)
		if len(letters) > 0 {
			reason = letters[0].Reason
		}
		return len(letters) > 0
	})
	return reason
}

func TestInternalAddressesAreRefused(t *testing.T) {
	internal := newTarget(t)
	publisher := newNode(t, toot.Options{ChannelPrefix: prefix, AllowCallback: toot.PublicCallbacks(), MaxRetries: -1}, true)
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1", "[fd00:ec2::254]"} {
		callback := fmt.Sprintf("http://%s:%s/", host, internal.URL[strings.LastIndexByte(internal.URL, ':')+1:])
		a := publisher.request(t, "POST", "/subscriptions", fmt.Sprintf(`{"callback_url":%q,"channel":"a"}`, callback))
		if a.status != 422 || strings.Contains(a.body, "127.0.0.1") && host == "localhost" {
			t.Errorf("%s: %d %s", callback, a.status, a.body)
		}
		// One that was there before the policy was.
		must2(publisher.engine.AddSubscriber(t.Context(), prefix+"a", callback, 0))
	}
	_, err := publisher.Publish(t.Context(), "a", nil)
	must(t, err)
	if reason := publisher.failures(t); !strings.Contains(reason, toot.ErrCallbackNotAllowed.Error()) {
		t.Errorf("the delivery failed with %q", reason)
	}
	publisher.settled(t)
	internal.untouched(t)
}

// "*.internal" is for names: a zone that ends in it makes no name of an address.
func TestAWildcardIsForNamesOnly(t *testing.T) {
	internal := newTarget(t)
	port := internal.URL[strings.LastIndexByte(internal.URL, ':')+1:]
	for _, policy := range []toot.CallbackPolicy{
		{Hosts: []string{"*.internal"}},
		{Hosts: []string{"*.internal"}, Public: true, Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
	} {
		publisher := newNode(t, toot.Options{ChannelPrefix: prefix, AllowCallback: &policy, MaxRetries: -1}, true)
		for _, host := range []string{"[::1%25.internal]", "[::ffff:127.0.0.1%25.internal]", "[::ffff:127.0.0.1%25a.internal.]"} {
			callback := fmt.Sprintf("http://%s:%s/", host, port)
			if a := publisher.request(t, "POST", "/subscriptions", fmt.Sprintf(`{"callback_url":%q,"channel":%q}`, callback, prefix+"a")); a.status != 422 {
				t.Errorf("%s: %d %s", callback, a.status, a.body)
			}
			must2(publisher.engine.AddSubscriber(t.Context(), prefix+"a", callback, 0)) // one that was there before
		}
		must2(publisher.Publish(t.Context(), "a", nil))
		if reason := publisher.failures(t); !strings.Contains(reason, toot.ErrCallbackNotAllowed.Error()) {
			t.Errorf("the delivery failed with %q", reason)
		}
		publisher.settled(t)
	}
	internal.untouched(t)
}

// nameServer answers questions for addresses; what it says may change.
type nameServer struct {
	conn  net.PacketConn
	mu    sync.Mutex
	addrs map[string]netip.Addr
	asked map[string]int
}

// resolveHere makes the process ask a name server of the test's.
func resolveHere(t *testing.T) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	s := &nameServer{conn: conn, addrs: map[string]netip.Addr{}, asked: map[string]int{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.serve()
	}()
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = before
		_ = conn.Close()
		<-done
	})
	return s
}

func (s *nameServer) say(name, addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addrs[name] = netip.MustParseAddr(addr)
}

func (s *nameServer) times(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[name]
}

// serve answers A questions (RFC 1035); others have no answer.
func (s *nameServer) serve() {
	buf := make([]byte, 512)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		q := buf[:n]
		i, name := 12, ""
		for q[i] != 0 {
			name += string(q[i+1:i+1+int(q[i])]) + "."
			i += 1 + int(q[i])
		}
		kind := binary.BigEndian.Uint16(q[i+1:])
		s.mu.Lock()
		addr, known := s.addrs[name]
		s.asked[name]++
		s.mu.Unlock()
		answer := append([]byte{q[0], q[1], 0x84, 0, 0, 1, 0, 0, 0, 0, 0, 0}, q[12:i+5]...)
		if !known {
			answer[3] = 3 // no such name
		} else if kind == 1 {
			answer[7] = 1
			answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
			answer = append(answer, addr.AsSlice()...)
		}
		_, _ = s.conn.WriteTo(answer, from)
	}
}

func TestRebindingHostsAreRefused(t *testing.T) {
	names := resolveHere(t)
	internal := newTarget(t)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(internal.URL, "http://"))
	must(t, err)
	publisher := newNode(t, toot.Options{ChannelPrefix: prefix, AllowCallback: toot.PublicCallbacks(), MaxRetries: -1}, true)
	register := func(host string) int {
		return publisher.request(t, "POST", "/subscriptions", fmt.Sprintf(`{"callback_url":"http://%s:%s/","channel":"%sa"}`, host, port, prefix)).status
	}
	names.say("inside.example.org.", "127.0.0.1")
	if status := register("inside.example.org"); status != 422 {
		t.Errorf("a name of an internal address: %d", status)
	}
	names.say("rebind.example.org.", "93.184.216.34")
	if status := register("rebind.example.org"); status != 201 {
		t.Fatalf("a name of a public address: %d", status)
	}
	names.say("rebind.example.org.", "127.0.0.1")
	_, err = publisher.Publish(t.Context(), "a", nil)
	must(t, err)
	if reason := publisher.failures(t); !strings.Contains(reason, toot.ErrCallbackNotAllowed.Error()) {
		t.Errorf("the delivery failed with %q", reason)
	}
	if names.times("rebind.example.org.") < 2 {
		t.Error("the name was not resolved again, so this test shows nothing")
	}
	internal.untouched(t)
}

func TestAllowedHostsAndNetworksAreReached(t *testing.T) {
	names := resolveHere(t)
	names.say("shop.internal.", "127.0.0.1")
	names.say("other.internal.", "127.0.0.1")
	for name, tc := range map[string]struct {
		policy toot.CallbackPolicy
		host   string
		ok     bool
	}{
		"a host":               {toot.CallbackPolicy{Hosts: []string{"shop.internal"}}, "shop.internal", true},
		"another host":         {toot.CallbackPolicy{Hosts: []string{"shop.internal"}}, "other.internal", false},
		"a network":            {toot.CallbackPolicy{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, "127.0.0.1", true},
		"a name of a network":  {toot.CallbackPolicy{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, "other.internal", true},
		"another network":      {toot.CallbackPolicy{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, "127.0.0.1", false},
		"public and a network": {toot.CallbackPolicy{Public: true, Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}, "127.0.0.1", true},
	} {
		t.Run(name, func(t *testing.T) {
			internal := newTarget(t)
			callback := strings.Replace(internal.URL, "127.0.0.1", tc.host, 1)
			publisher := newNode(t, toot.Options{ChannelPrefix: prefix, AllowCallback: &tc.policy, MaxRetries: -1, Client: &http.Client{}}, true)
			a := publisher.request(t, "POST", "/subscriptions", fmt.Sprintf(`{"callback_url":%q,"channel":"%sa"}`, callback, prefix))
			if (a.status == 201) != tc.ok {
				t.Errorf("registering: %d %s", a.status, a.body)
			}
			must2(publisher.engine.AddSubscriber(t.Context(), prefix+"a", callback, 0))
			_, err := publisher.Publish(t.Context(), "a", nil)
			must(t, err)
			if tc.ok {
				eventually(t, "the event to arrive", func() bool { return internal.requests.Load() == 1 })
				return
			}
			publisher.failures(t)
			internal.untouched(t)
		})
	}
}

func TestAProxyIsNoWayAround(t *testing.T) {
	proxy := newTarget(t)
	proxyURL, err := url.Parse(proxy.URL)
	must(t, err)
	publisher := newNode(t, toot.Options{
		ChannelPrefix: prefix, MaxRetries: -1,
		// The proxy could be reached, the callback could not.
		AllowCallback: &toot.CallbackPolicy{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}},
		Client:        &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxyURL)}},
	}, true)
	must2(publisher.engine.AddSubscriber(t.Context(), prefix+"a", "http://169.254.169.254/latest/meta-data/", 0))
	_, err = publisher.Publish(t.Context(), "a", nil)
	must(t, err)
	publisher.failures(t)
	proxy.untouched(t)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestAPolicyNeedsATransportItCanSeeInto(t *testing.T) {
	n := newNode(t, toot.Options{}, false)
	dial := func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("never") }
	for name, rt := range map[string]http.RoundTripper{
		"a RoundTripper":       roundTripper(http.DefaultTransport.RoundTrip),
		"one with a TLS dial":  &http.Transport{DialTLSContext: dial},
		"one with an old dial": &http.Transport{Dial: func(string, string) (net.Conn, error) { return nil, errors.New("never") }}, //nolint:staticcheck // that is the point
	} {
		app, err := toot.New(n.engine, &toot.Options{AllowCallback: toot.PublicCallbacks(), Client: &http.Client{Transport: rt}})
		if err == nil || !strings.Contains(err.Error(), "AllowCallback") {
			t.Errorf("%s: %v", name, err)
			_ = app.Close()
		}
	}
}

// Sources are this app's own choice, and what wraps the transport stays.
func TestAPolicyIsAboutCallbacksOnly(t *testing.T) {
	publisher := newNode(t, toot.Options{ChannelPrefix: prefix}, false)
	var wrapped, own atomic.Int64
	count := func(n *atomic.Int64, next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			n.Add(1)
			return next.RoundTrip(r)
		})
	}
	subscriber := newNode(t, toot.Options{
		AllowCallback: toot.PublicCallbacks(), MaxRetries: -1,
		WrapTransport: func(next http.RoundTripper) http.RoundTripper { return count(&wrapped, next) },
	}, true)
	subscriber.subscribe(t, publisher, "a", &recorder{})
	if wrapped.Load() != 1 {
		t.Errorf("%d requests went through WrapTransport, want 1", wrapped.Load())
	}
	must(t, subscriber.AddSource("own", toot.Source{
		SubscriptionURL: publisher.url + "/subscriptions", ChannelPrefix: prefix,
		Client: &http.Client{Transport: count(&own, http.DefaultTransport)},
	}))
	must(t, subscriber.Subscribe("own", "b", &recorder{}))
	must(t, subscriber.RegisterSubscriptions(t.Context()))
	if wrapped.Load() != 2 || own.Load() != 1 {
		t.Errorf("%d and %d requests, want 2 and 1", wrapped.Load(), own.Load())
	}
	internal := newTarget(t)
	must2(subscriber.engine.AddSubscriber(t.Context(), "c", internal.URL, 0))
	must2(subscriber.Publish(t.Context(), "c", nil))
	subscriber.failures(t)
	if wrapped.Load() != 3 {
		t.Errorf("%d requests went through WrapTransport, want 3", wrapped.Load())
	}
	internal.untouched(t)
}

func TestLimitsOfTheServices(t *testing.T) {
	n := newNode(t, toot.Options{MaxDepth: 4, MaxSubscribersPerChannel: 2, ReadTimeout: time.Second}, false)
	must(t, n.AddSource("publisher", toot.Source{SubscriptionURL: "http://127.0.0.1:1/", ChannelPrefix: prefix}))
	must(t, n.Subscribe("publisher", "a", &recorder{}))
	event := func(payload string) string {
		return fmt.Sprintf(`{"id":"1","channel":"%sa","payload":%s}`, prefix, payload)
	}
	for _, tc := range []struct {
		name, path, body string
		status           int
		header           []string
	}{
		{"as deep as can be", "/callbacks", event(`[[[[]]]]`), 200, nil},
		{"too deep", "/callbacks", event(`[[[[[[]]]]]]`), 422, nil},
		{"far too deep", "/callbacks", strings.Repeat("[", 1<<20), 422, nil},
		{"a batch as deep as can be", "/callbacks", "[" + event(`[[[[]]]]`) + "]", 200, []string{"Content-Type", "application/vnd.toot.batch+json"}},
		{"a batch too deep", "/callbacks", "[" + event(`[[[[[]]]]]`) + "]", 422, []string{"Content-Type", "application/vnd.toot.batch+json"}},
		{"no encoding", "/callbacks", event(`1`), 200, []string{"Content-Encoding", "identity"}},
		{"compressed", "/callbacks", event(`1`), 415, []string{"Content-Encoding", "gzip"}},
		{"compressed twice", "/subscriptions", `{}`, 415, []string{"Content-Encoding", "gzip, br"}},
		{"a registration too deep", "/subscriptions", `{"channel":"a","x":[[[[[[[[]]]]]]]]}`, 422, nil},
		{"a control character", "/subscriptions", `{"channel":"a","callback_url":"http://a.example.org/\u0085"}`, 422, nil},
		{"a line separator", "/subscriptions", `{"channel":"a","callback_url":"http://a.example.org/\u2028"}`, 422, nil},
		{"a line break", "/subscriptions", `{"channel":"a","callback_url":"http://a.example.org/\n"}`, 422, nil},
		{"a channel with one", "/subscriptions", `{"channel":"a\u001b[31m","callback_url":"http://a.example.org/"}`, 422, nil},
		{"a URL too long", "/subscriptions", `{"channel":"a","callback_url":"http://a.example.org/` + strings.Repeat("x", 2048) + `"}`, 422, nil},
		{"a first subscriber", "/subscriptions", `{"channel":"full","callback_url":"http://a.example.org/"}`, 201, nil},
		{"a second", "/subscriptions", `{"channel":"full","callback_url":"http://b.example.org/"}`, 201, nil},
		{"one too many", "/subscriptions", `{"channel":"full","callback_url":"http://c.example.org/"}`, 422, nil},
		{"one that is there", "/subscriptions", `{"channel":"full","callback_url":"http://b.example.org/"}`, 204, nil},
		{"another channel", "/subscriptions", `{"channel":"free","callback_url":"http://c.example.org/"}`, 201, nil},
	} {
		a := n.request(t, "POST", tc.path, tc.body, tc.header...)
		if a.status != tc.status {
			t.Errorf("%s: %d %s, want %d", tc.name, a.status, a.body, tc.status)
		}
		if a.status >= 400 {
			a.isProblem(t, tc.name)
		}
	}
	if _, err := n.Publish(t.Context(), "a", [][][][][]int{{{{{1}}}}}); !errors.Is(err, toot.ErrInvalidPayload) {
		t.Errorf("a payload too deep: %v", err)
	}
	// Whoever is slow is not waited for.
	for _, head := range []string{"Content-Length: 100", "Transfer-Encoding: chunked"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(n.url, "http://"))
		must(t, err)
		fmt.Fprintf(conn, "POST /callbacks HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", head)
		must(t, conn.SetReadDeadline(time.Now().Add(30*time.Second)))
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		must(t, err)
		if res.StatusCode != 408 {
			t.Errorf("a body that does not come (%s): %d", head, res.StatusCode)
		}
		_ = res.Body.Close()
		_ = conn.Close()
	}
	// A connection goes on after a request in time.
	for range 2 {
		if a := n.request(t, "POST", "/callbacks", event(`1`)); a.status != 200 {
			t.Errorf("in time: %d", a.status)
		}
		time.Sleep(1100 * time.Millisecond) // longer than ReadTimeout
	}
}

// What is compressed is not unpacked, however small it is on the wire.
func TestNothingIsUnpacked(t *testing.T) {
	n := newNode(t, toot.Options{}, false)
	var packed strings.Builder
	z := gzip.NewWriter(&packed)
	_, _ = io.CopyN(z, strings.NewReader(strings.Repeat(" ", 1<<20)), 1<<20)
	must(t, z.Close())
	if a := n.request(t, "POST", "/callbacks", packed.String(), "Content-Encoding", "gzip"); a.status != 415 {
		t.Errorf("%d", a.status)
	}
	if a := n.request(t, "POST", "/callbacks", packed.String()); a.status != 400 {
		t.Errorf("%d", a.status)
	}
}

func TestPasswordsAreNowhereToBeSeen(t *testing.T) {
	const password = "s3cr3t-in-the-url"
	var log lockedBuffer
	var sent atomic.Value
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, p, _ := r.BasicAuth()
		sent.Store(p)
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer endpoint.Close()
	publisher := newNode(t, toot.Options{
		ChannelPrefix: prefix, MaxRetries: -1,
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}, true)
	callback := strings.Replace(endpoint.URL, "http://", "http://user:"+password+"@", 1) + "/?token=" + password
	channel := prefix + "a"
	if a := publisher.request(t, "POST", "/subscriptions", fmt.Sprintf(`{"callback_url":%q,"channel":%q}`, callback, channel)); a.status != 201 {
		t.Fatalf("%+v", a)
	}
	must2(publisher.Publish(t.Context(), "a", nil))
	reason := publisher.failures(t)
	if sent.Load() != password {
		t.Errorf("the endpoint was sent %q as password", sent.Load())
	}
	stats, err := publisher.Stats(t.Context())
	must(t, err)
	letters, err := publisher.DeadLetters(t.Context(), engine.DeadQuery{})
	must(t, err)
	letters[0].Lane = "" // which is documented to be whole
	list := publisher.request(t, "GET", "/subscriptions", "").body
	for name, seen := range map[string]string{
		"the log": log.String(), "a dead letter": reason + fmt.Sprintf("%+v", letters), "the statistics": fmt.Sprintf("%+v", stats),
		"the list": strings.ReplaceAll(list, "token="+password, ""),
	} {
		if strings.Contains(seen, password) {
			t.Errorf("the password can be seen in %s:\n%s", name, seen)
		}
	}
	if !strings.Contains(list, "user:redacted@") {
		t.Errorf("the list does not tell URLs apart: %s", list)
	}
	if a := publisher.request(t, "DELETE", "/subscriptions?channel="+channel+"&callback_url="+url.QueryEscape(callback), ""); a.status != 204 {
		t.Errorf("DELETE: %+v", a)
	}
}

// Another program may have registered what Go can't parse: nobody knows then what
// of it is a password.
func TestPasswordsOfWhatIsNoURLAreNotShown(t *testing.T) {
	const password = "s3cr3t-in-the-url"
	var log lockedBuffer
	n := newNode(t, toot.Options{
		ChannelPrefix: prefix, MaxRetries: -1,
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}, true)
	urls := []string{
		"http://user:" + password + "@app.example.org:port/", "http://user:%zz" + password + "@app.example.org/", "http:/user:" + password + "@app.example.org/",
		"user:" + password + "@app.example.org", "http://user:" + password + "@app example.org/", "http://user:" + password + "%40app.example.org/",
	}
	for _, u := range urls { // jobs of an older version, and members that are left out by now
		n.add(t, prefix+"a", u)
		must2(n.engine.Push(t.Context(), engine.PushRequest{Jobs: []engine.Job{{
			Event: &engine.Event{ID: "1", Channel: prefix + "a", Body: []byte(`{}`)}, Lane: engine.Lane{Kind: engine.Deliver, Name: u},
		}}}))
	}
	must2(n.Publish(t.Context(), "a", nil))
	n.settled(t)
	letters := must2(n.DeadLetters(t.Context(), engine.DeadQuery{}))
	if len(letters) != len(urls) {
		t.Fatalf("%d dead letters, want %d", len(letters), len(urls))
	}
	for i := range letters {
		if letters[i].RedactedLane != "(not a URL)" {
			t.Errorf("%q is shown as %q", letters[i].Lane, letters[i].RedactedLane)
		}
		letters[i].Lane = "" // which is documented to be whole
	}
	list := n.request(t, "GET", "/subscriptions", "").body
	stats := must2(n.Stats(t.Context()))
	for _, u := range urls {
		if a := n.request(t, "DELETE", "/subscriptions?channel="+prefix+"a&callback_url="+url.QueryEscape(u), ""); a.status != 204 {
			t.Errorf("DELETE: %+v", a)
		}
	}
	for name, seen := range map[string]string{
		"the log": log.String(), "the dead letters": fmt.Sprintf("%+v", letters), "the statistics": fmt.Sprintf("%+v", stats), "the list": list,
	} {
		if strings.Contains(seen, password) {
			t.Errorf("the password can be seen in %s:\n%s", name, seen)
		}
	}
}

// A URL that was stored with a space in its query is one that can be posted to,
// and none that is taken any more.
func TestASpaceInAQueryDoesNotReachTheRequestLine(t *testing.T) {
	n := newNode(t, toot.Options{ChannelPrefix: prefix, MaxRetries: -1}, true)
	targets := make(chan string, 10)
	endpoint := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { targets <- r.RequestURI }))
	t.Cleanup(endpoint.Close)
	stored := endpoint.URL + "/?a b HTTP/1.0"
	a := n.request(t, "POST", "/subscriptions", fmt.Sprintf(`{"callback_url":%q,"channel":"%sa"}`, stored, prefix))
	if a.status != 422 || !strings.Contains(a.body, "%20") {
		t.Errorf("registering: %d %s", a.status, a.body)
	}
	n.add(t, prefix+"a", stored)
	for _, size := range []int{1, 100 << 10} { // by either of two transports
		must2(n.Publish(t.Context(), "a", strings.Repeat("x", size)))
		n.settled(t)
		if dead := must2(n.Stats(t.Context())).Dead; dead != 0 {
			t.Fatalf("%d dead letters", dead)
		}
		if got := <-targets; got != "/?a%20b%20HTTP/1.0" {
			t.Errorf("posted to %q", got)
		}
	}
	if a := n.request(t, "DELETE", "/subscriptions?channel="+prefix+"a&callback_url="+url.QueryEscape(stored), ""); a.status != 204 {
		t.Errorf("DELETE: %+v", a)
	}
}

func TestLogLinesCantBeForged(t *testing.T) {
	var log lockedBuffer
	n := newNode(t, toot.Options{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}, false)
	forged := "a\ntime=2026 level=ERROR msg=forged\u2028\x1b[31m"
	must2(n.engine.AddSubscriber(t.Context(), forged, forged, 0)) // by another program
	n.request(t, "DELETE", "/subscriptions?channel="+url.QueryEscape(forged)+"&callback_url="+url.QueryEscape(forged), "")
	n.request(t, "POST", "/subscriptions", fmt.Sprintf(`{"callback_url":"http://a.example.org/","channel":%q}`, forged))
	if !strings.Contains(log.String(), "subscriber removed") {
		t.Fatalf("nothing was logged: %s", log.String())
	}
	for line := range strings.Lines(log.String()) {
		if strings.HasPrefix(line, "time=2026 ") || strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\n\x1b\u2028") {
			t.Errorf("forged: %q", line)
		}
	}
}
