package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
	"github.com/watermarkchurch/toot-go/signing"
)

// server is a `toot serve` and where it is.
type server struct {
	*process
	url string
}

var servingURL = regexp.MustCompile(`msg=serving url=(\S+)`)

// serve starts toot serve on a free port and waits until it is ready.
func serve(t *testing.T, args ...string) *server {
	t.Helper()
	s := &server{process: start(t, "", append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)}
	eventually(t, "toot serve serves", func() bool {
		m := servingURL.FindStringSubmatch(s.stderr.String())
		if m == nil {
			return false
		}
		s.url = m[1]
		res, err := http.Get(s.url + "/readyz")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return s
}

// stop ends it in order.
func (s *server) stop() {
	s.t.Helper()
	s.signal(syscall.SIGTERM)
	wantCode(s.t, s.wait(), 0)
}

// endpoint is a subscriber that remembers what it got.
type endpoint struct {
	*httptest.Server
	mu    sync.Mutex
	hangs bool
	got   map[string]int
	order []map[string]any
}

func newEndpoint(t *testing.T) *endpoint {
	t.Helper()
	e := &endpoint{got: map[string]int{}}
	e.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var event map[string]any
		if err != nil || json.Unmarshal(body, &event) != nil {
			t.Errorf("the endpoint got %q (%v)", body, err)
			return
		}
		e.mu.Lock()
		hangs := e.hangs
		if !hangs {
			e.got[event["id"].(string)]++
			e.order = append(e.order, event)
		}
		e.mu.Unlock()
		if hangs {
			<-r.Context().Done()
		}
	}))
	t.Cleanup(func() {
		e.CloseClientConnections()
		e.Close()
	})
	return e
}

func (e *endpoint) hang(on bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hangs = on
}

func (e *endpoint) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.got)
}

// missing are those of the IDs that have not arrived.
func (e *endpoint) missing(ids []string) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return e.got[id] > 0 })
}

// curl runs curl and returns the status and the body of the answer.
func curl(t *testing.T, args ...string) (status, body string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "curl", append([]string{"-sS", "-w", "\n%{http_code}"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("curl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	text := string(out)
	i := strings.LastIndexByte(text, '\n')
	return text[i+1:], text[:i]
}

func wantStatus(t *testing.T, want, status, body string) {
	t.Helper()
	if status != want {
		t.Errorf("answered with %s, want %s: %s", status, want, body)
	}
}

// TestServeListenPublish is the README's three terminals.
func TestServeListenPublish(t *testing.T) {
	t.Parallel()
	s := serve(t)
	l := start(t, "", "listen", "--channel", "users.updated.v1", "--publisher", s.url)
	l.await("listening to users.updated.v1")
	r := command(t, "publish", "users.updated.v1", `{"id":123}`, "--publisher", s.url)
	wantCode(t, r, 0)
	wantContains(t, r.stdout, "published ", " on users.updated.v1")
	l.await(`"payload":{"id":123},"channel":"users.updated.v1"}` + "\n")

	wantContains(t, command(t, "subscriptions", "--publisher", s.url).stdout, "users.updated.v1")
	l.signal(os.Interrupt)
	wantCode(t, l.wait(), 0)
	wantContains(t, command(t, "subscriptions", "--publisher", s.url).stdout, "Nobody is subscribed")
	s.stop()
}

// TestServeWithCurlAlone is the same for those who have nothing but curl.
func TestServeWithCurlAlone(t *testing.T) {
	t.Parallel()
	s := serve(t, "--channel-prefix", "org.example.")
	e := newEndpoint(t)
	subscription := fmt.Sprintf(`{"callback_url":%q,"channel":"org.example.users"}`, e.URL)
	for _, want := range []string{"201", "204"} {
		status, body := curl(t, "-H", "Content-Type: application/json", "-d", subscription, s.url+"/subscriptions")
		wantStatus(t, want, status, body)
	}
	status, body := curl(t, "-d", `{"id":123,"n":12345678901234567890}`, s.url+"/publish/users")
	wantStatus(t, "202", status, body)
	var first struct{ ID, Channel, Timestamp string }
	if err := json.Unmarshal([]byte(body), &first); err != nil || first.Channel != "org.example.users" || first.Timestamp == "" {
		t.Fatalf("answered with %q (%v)", body, err)
	}
	eventually(t, "the event arrives", func() bool { return len(e.missing([]string{first.ID})) == 0 })

	// A repeat with the same key is the same event.
	var answers []string
	for range 2 {
		status, body = curl(t, "-H", "Idempotency-Key: order 7", "-d", `{"order":7}`, s.url+"/publish/users")
		wantStatus(t, "202", status, body)
		answers = append(answers, body)
	}
	if answers[0] != answers[1] {
		t.Errorf("a repeat was answered otherwise: %s", answers)
	}
	// Many at once, in order, all or none.
	status, body = curl(t, "-H", "Content-Type: application/x-ndjson", "--data-binary", "{\"n\":1}\n\n{\"n\":2}\n", s.url+"/publish/users")
	wantStatus(t, "202", status, body)
	if n := strings.Count(body, `"id"`); n != 2 {
		t.Errorf("two events were answered with %q", body)
	}
	status, body = curl(t, "-H", "Content-Type: application/x-ndjson", "--data-binary", "{\"n\":3}\nnot json\n", s.url+"/publish/users")
	wantStatus(t, "400", status, body)
	wantContains(t, body, "line 2")
	eventually(t, "the events arrive", func() bool { return e.count() == 4 })
	e.mu.Lock()
	for id, n := range e.got {
		if n != 1 {
			t.Errorf("event %s came %d times", id, n)
		}
	}
	e.mu.Unlock()

	status, body = curl(t, "-G", "-X", "DELETE", "--data-urlencode", "callback_url="+e.URL, "--data-urlencode", "channel=org.example.users", s.url+"/subscriptions")
	wantStatus(t, "204", status, body)
	s.stop()
}

func TestServeRefusesWhatItDoesNotUnderstand(t *testing.T) {
	t.Parallel()
	s := serve(t, "--max-event-bytes", "1000")
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, []byte(`"`+strings.Repeat("x", 1000)+`"`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{"400", []string{"-d", "{nope", "/publish/users"}},
		{"400", []string{"-H", "Content-Type: application/x-ndjson", "-d", "", "/publish/users"}},
		{"400", []string{"-H", "Idempotency-Key: " + strings.Repeat("k", 256), "-d", "1", "/publish/users"}},
		{"404", []string{"-d", "{}", "/publish/"}},
		{"404", []string{"/"}},
		{"405", []string{"/publish/users"}},
		{"405", []string{"-d", "", "/readyz"}},
		{"413", []string{"--data-binary", "@" + big, "/publish/users"}},
		{"413", []string{"-H", "Transfer-Encoding: chunked", "--data-binary", "@" + big, "/publish/users"}},
		{"422", []string{"-d", "{}", "/publish/a%00b"}},
		{"422", []string{"-d", "\"\xff\"", "/publish/users"}},
		{"422", []string{"-d", `"\ud800"`, "/publish/users"}},
		{"422", []string{"-d", "{}", "/subscriptions"}},
		{"422", []string{"-d", "{}", "/subscriptions/"}},
		{"422", []string{"-d", `{"callback_url":"http://localhost/","Channel":"users"}`, "/subscriptions"}},
		{"200", []string{"/subscriptions/"}},
		{"404", []string{"/subscriptions/users"}},
		{"200", []string{"/healthz"}},
	} {
		args := slices.Clone(c.args)
		args[len(args)-1] = s.url + args[len(args)-1]
		status, body := curl(t, args...)
		if status != c.want || c.want != "200" && !strings.Contains(body, `"detail":"`) {
			t.Errorf("%s: answered with %s, want %s: %s", strings.Join(c.args, " "), status, c.want, body)
		}
	}
	s.stop()
}

// publishMany publishes events from several connections until told to stop,
// and returns the IDs of those that were acknowledged.
func publishMany(url string, stop <-chan struct{}) (ids []string) {
	var mu sync.Mutex
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				res, err := http.Post(url+"/publish/load", "application/json", strings.NewReader(`{"x":1}`))
				if err != nil {
					continue
				}
				var event struct{ ID string }
				body, err := io.ReadAll(res.Body)
				_ = res.Body.Close()
				if err == nil && res.StatusCode == http.StatusAccepted && json.Unmarshal(body, &event) == nil {
					mu.Lock()
					ids = append(ids, event.ID)
					mu.Unlock()
				}
			}
		})
	}
	group.Wait()
	return ids
}

// TestServeSurvives: whatever was acknowledged arrives, though the server is
// killed or stopped meanwhile.
func TestServeSurvives(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*server){
		"kill -9": func(s *server) {
			s.signal(syscall.SIGKILL)
			s.wait()
		},
		"SIGTERM under load": (*server).stop,
	} {
		t.Run(name, func(t *testing.T) {
			file := "sqlite:" + filepath.Join(t.TempDir(), "toot.db")
			e := newEndpoint(t)
			s := serve(t, "--store", file)
			wantCode(t, command(t, "subscribe", e.URL, "--channel", "load", "--publisher", s.url), 0)
			if name == "kill -9" {
				e.hang(true) // so that it is killed with requests in flight
			}
			stop := make(chan struct{})
			published := make(chan []string)
			go func() { published <- publishMany(s.url, stop) }()
			eventually(t, "some are published", func() bool {
				stats := objects(t, command(t, "stats", "--json", "--store", file).stdout)
				return len(stats) == 1 && stats[0]["waiting"].(float64) > 100 || e.count() > 100
			})
			end(s)
			close(stop)
			ids := <-published
			e.hang(false)
			if len(ids) < 100 {
				t.Fatalf("only %d events were published", len(ids))
			}
			s = serve(t, "--store", file)
			eventually(t, fmt.Sprintf("all of %d events arrive", len(ids)), func() bool { return len(e.missing(ids)) == 0 })
			s.stop()
		})
	}
}

// TestServeReplicas: two servers on one Redis are one.
func TestServeReplicas(t *testing.T) {
	t.Parallel()
	store := redistest.Start(t).URL() + "?namespace=replicas"
	e := newEndpoint(t)
	one, two := serve(t, "--store", store), serve(t, "--store", store)
	wantCode(t, command(t, "subscribe", e.URL, "--channel", "load", "--publisher", one.url), 0)
	lines := strings.Repeat("{}\n", 200)
	var ids []string
	for _, s := range []*server{one, two} {
		r := commandWith(t, lines, "publish", "load", "--ndjson", "--json", "--publisher", s.url)
		wantCode(t, r, 0)
		for _, o := range objects(t, r.stdout) {
			ids = append(ids, o["id"].(string))
		}
	}
	one.signal(syscall.SIGKILL)
	if len(ids) != 400 {
		t.Fatalf("%d events were published, want 400", len(ids))
	}
	eventually(t, "all arrive", func() bool { return len(e.missing(ids)) == 0 })
	two.stop()
}

// TestServeKeepsPublishersApart: what one publisher sends with a key keeps none of
// another's from being published, also when its token changes; and a credential
// that is for some channels is for no other.
func TestServeKeepsPublishersApart(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	store := "sqlite:" + filepath.Join(t.TempDir(), "toot.db")
	publish := func(s *server, want, credential, channel string) (id string) {
		t.Helper()
		status, body := curl(t, "-H", "Authorization: Bearer "+credential, "-H", "Idempotency-Key: order-8", "-d", "1", s.url+"/publish/"+channel)
		wantStatus(t, want, status, body)
		var event struct{ ID string }
		_ = json.Unmarshal([]byte(body), &event)
		return event.ID
	}
	s := serve(t, "--store", store, "--publish-auth", "a=one,b=two,c=three prefix=own. prefix=shared.")
	wantCode(t, command(t, "subscribe", e.URL, "--channel", "orders", "--publisher", s.url), 0)
	a, b := publish(s, "202", "one", "orders"), publish(s, "202", "two", "orders")
	if a == b {
		t.Error("two publishers share a key")
	}
	publish(s, "403", "three", "orders")
	publish(s, "202", "three", "shared.orders")
	publish(s, "401", "four", "orders")
	s.stop()
	s = serve(t, "--store", store, "--publish-auth", "a=changed")
	if again := publish(s, "202", "changed", "orders"); again != a {
		t.Errorf("after its token has changed, a's key stands for %s, before for %s", again, a)
	}
	eventually(t, "both events arrive", func() bool { return len(e.missing([]string{a, b})) == 0 })
	s.stop()
}

// TestUnsubscribeSigns: where a subscriber has handed over a secret that counts,
// it is needed to unsubscribe it.
func TestUnsubscribeSigns(t *testing.T) {
	t.Parallel()
	s := serve(t, "--store", "sqlite:"+filepath.Join(t.TempDir(), "toot.db"))
	secret := signing.NewSecret()
	keys, err := signing.ParseSecrets([]string{secret})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan http.Header, 10)
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Toot-Batch", "256")
		got <- r.Header
	}))
	t.Cleanup(endpoint.Close)
	status, body := curl(t, "-d", fmt.Sprintf(`{"callback_url":%q,"channel":"users","signing_secret":%q}`, endpoint.URL, secret), s.url+"/subscriptions")
	wantStatus(t, "201", status, body)
	wantCode(t, commandWith(t, "1", "publish", "users", "--publisher", s.url), 0)
	if h := <-got; h.Get("Webhook-Signature") == "" || len(keys) != 1 {
		t.Fatalf("the delivery is not signed: %v", h)
	}
	file := filepath.Join(t.TempDir(), "secret")
	unsubscribe := func(args ...string) result {
		return command(t, append([]string{"unsubscribe", endpoint.URL, "--channel", "users", "--publisher", s.url}, args...)...)
	}
	eventually(t, "the secret counts", func() bool {
		r := unsubscribe()
		if r.code == 0 { // it was removed before: register anew
			status, body := curl(t, "-d", fmt.Sprintf(`{"callback_url":%q,"channel":"users","signing_secret":%q}`, endpoint.URL, secret), s.url+"/subscriptions")
			if status != "201" {
				t.Fatal(status, body)
			}
			wantCode(t, commandWith(t, "1", "publish", "users", "--publisher", s.url), 0)
			<-got
		}
		return r.code != 0 && strings.Contains(r.stderr, "sign the request")
	})
	if err := os.WriteFile(file, []byte(signing.NewSecret()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantCode(t, unsubscribe("--signing-secret-file", file), 1)
	if err := os.WriteFile(file, []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := unsubscribe("--signing-secret-file", file)
	wantCode(t, r, 2)
	if strings.Contains(r.stderr, "short") {
		t.Errorf("the error shows what is in the file: %s", r.stderr)
	}
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantCode(t, unsubscribe("--signing-secret-file", file), 0)
	s.stop()
}

// TestServeAnswersARepeatAlike: a request with an Idempotency-Key that comes
// again is answered with the same ID and timestamp and makes no second event,
// though the server was killed meanwhile, and whichever replica it comes to.
func TestServeAnswersARepeatAlike(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]string{
		"SQLite": "sqlite:" + filepath.Join(t.TempDir(), "toot.db"),
		"Redis":  redistest.Start(t).URL() + "?namespace=repeats",
	} {
		t.Run(name, func(t *testing.T) {
			e := newEndpoint(t)
			ask := func(s *server, channel string, args ...string) string {
				t.Helper()
				status, body := curl(t, append([]string{"-H", "Idempotency-Key: order 7", s.url + "/publish/" + channel}, args...)...)
				wantStatus(t, "202", status, body)
				return body
			}
			one, many := []string{"-d", `{"order":7}`}, []string{"-H", "Content-Type: application/x-ndjson", "--data-binary", "1\n2\n"}
			s := serve(t, "--store", store, "--channel-prefix", "org.example.")
			for _, channel := range []string{"orders", "others", "lines"} {
				wantCode(t, command(t, "subscribe", e.URL, "--channel", "org.example."+channel, "--publisher", s.url), 0)
			}
			first, lines := ask(s, "orders", one...), ask(s, "lines", many...)
			var event struct{ ID, Timestamp string }
			if err := json.Unmarshal([]byte(first), &event); err != nil || event.ID == "" || event.Timestamp == "" {
				t.Fatalf("answered with %q (%v)", first, err)
			}
			if strings.Contains(ask(s, "others", one...), event.ID) {
				t.Error("the same key means the same event on two channels")
			}
			eventually(t, "all is delivered and settled", func() bool {
				for _, lane := range objects(t, command(t, "stats", "--json", "--store", store).stdout) {
					if lane["waiting"].(float64)+lane["in_flight"].(float64) > 0 {
						return false
					}
				}
				return e.count() == 4
			})
			s.signal(syscall.SIGKILL)
			s.wait()

			again, other := serve(t, "--store", store, "--channel-prefix", "org.example."), serve(t, "--store", store, "--channel-prefix", "org.example.")
			for _, s := range []*server{again, other} {
				if repeat := ask(s, "orders", one...); repeat != first {
					t.Errorf("a repeat was answered with %s, the first with %s", repeat, first)
				}
				if repeat := ask(s, "lines", many...); repeat != lines {
					t.Errorf("a repeat was answered with %s, the first with %s", repeat, lines)
				}
			}
			var mu sync.Mutex
			answers := map[string]bool{}
			var group sync.WaitGroup
			for _, s := range []*server{again, other, again, other} {
				group.Go(func() {
					answer := ask(s, "new", one...)
					mu.Lock()
					defer mu.Unlock()
					answers[answer] = true
				})
			}
			group.Wait()
			if len(answers) != 1 {
				t.Errorf("requests that came at once were answered with %v", answers)
			}
			again.stop()
			other.stop()
			e.mu.Lock()
			defer e.mu.Unlock()
			for id, n := range e.got {
				if n != 1 {
					t.Errorf("event %s came %d times", id, n)
				}
			}
			for _, sent := range e.order {
				if sent["id"] == event.ID && sent["timestamp"] != event.Timestamp {
					t.Errorf("the event says it is of %s, the answer %s", sent["timestamp"], event.Timestamp)
				}
			}
		})
	}
}

func TestServeAsksForCredentials(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "subscribers")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# who may subscribe\nruby:secret\n")
	s := serve(t, "--publish-auth", "token-1,app:pass:word", "--subscriptions-auth", "@"+file, "--metrics-auth", "scraper")
	for _, c := range []struct {
		want, path string
		args       []string
	}{
		{"401", "/publish/x", nil},
		{"401", "/publish/x", []string{"-u", "app:wrong"}},
		{"401", "/publish/x", []string{"-u", "app:"}},
		{"401", "/publish/x", []string{"-u", ":token-1"}},
		{"401", "/publish/x", []string{"-u", "ruby:secret"}},
		{"401", "/publish/x", []string{"-H", "Authorization: Bearer app:pass:word"}},
		{"202", "/publish/x", []string{"-u", "app:pass:word"}},
		{"202", "/publish/x", []string{"-H", "Authorization: Bearer token-1"}},
		{"401", "/metrics", []string{"-G"}},
		{"200", "/readyz", []string{"-G"}},
	} {
		args := append([]string{s.url + c.path}, c.args...)
		if len(c.args) == 0 || c.args[0] != "-G" {
			args = append(args, "-d", "{}")
		}
		status, body := curl(t, args...)
		if status != c.want {
			t.Errorf("%s %v: answered with %s, want %s: %s", c.path, c.args, status, c.want, body)
		}
	}
	withPassword := func(password string) string {
		return strings.Replace(s.url, "://", "://ruby:"+password+"@", 1)
	}
	wantCode(t, command(t, "subscriptions", "--publisher", withPassword("secret")), 0)
	r := command(t, "subscriptions", "--publisher", withPassword("other"))
	wantCode(t, r, 1)
	if wantContains(t, r.stderr, "401"); strings.Contains(r.stderr, "other") {
		t.Errorf("the password is shown: %s", r.stderr)
	}
	// Credentials are changed without a restart.
	write("ruby:other\n")
	s.signal(syscall.SIGHUP)
	s.await("credentials were read again")
	wantCode(t, command(t, "subscriptions", "--publisher", withPassword("other")), 0)
	wantCode(t, command(t, "subscriptions", "--publisher", withPassword("secret")), 1)
	write("")
	s.signal(syscall.SIGHUP)
	s.await("the old ones stay")
	wantCode(t, command(t, "subscriptions", "--publisher", s.url), 1)
	s.stop()
}

func TestServeIsNotOpenToAllByAccident(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--listen", ":0"}, {"--listen", "0.0.0.0:0"}, {"--listen", "0.0.0.0:0", "--allow-callback", "any", "--publish-auth", "x"}, {"--listen", "127.0.0.1"},
		{"--listen", "[::]:0", "--allow-callback", "any", "--publish-auth", "x", "--subscriptions-auth", "x", "--metrics-auth", ":"},
		{"--log-level", "loud"}, {"--drain-timeout", "0s"}, {"--config", "nothere.yaml"}, {"--publish-auth", "@nothere"}, {"--store", "nonsense"},
	} {
		r := command(t, append([]string{"serve"}, args...)...)
		wantCode(t, r, 2)
		if strings.Count(r.stderr, "toot: ") != 1 {
			t.Errorf("%v: it says %q, want one line", args, r.stderr)
		}
	}
	s := serve(t, "--listen", ":0", "--allow-callback", "any", "--publish-auth", "a", "--subscriptions-auth", "b", "--metrics-auth", "c")
	s.stop()
}

func TestListenForwardsAndRunsCommands(t *testing.T) {
	t.Parallel()
	s := serve(t, "--max-retries", "3")
	e := newEndpoint(t)
	file := filepath.Join(t.TempDir(), "events")
	l := start(t, "", "listen", "-c", "a", "-c", "b", "-n", "2", "--publisher", s.url, "--forward", e.URL, "--exec", `cat >> "`+file+`"; echo "$TOOT_CHANNEL"`)
	l.await("listening to a, b")
	for _, channel := range []string{"a", "b"} {
		wantCode(t, command(t, "publish", channel, "--publisher", s.url), 0)
	}
	r := l.wait() // after two events
	wantCode(t, r, 0)
	if lines := strings.Fields(r.stdout); len(lines) != 2 || !slices.Contains(lines, "a") || !slices.Contains(lines, "b") {
		t.Errorf("the commands print %q, want a and b", r.stdout)
	}
	events, err := os.ReadFile(file)
	if err != nil || bytes.Count(events, []byte("\n")) != 2 || e.count() != 2 {
		t.Errorf("the command got %q (%v), the endpoint %d events", events, err, e.count())
	}
	s.stop()
}

// TestListenIsReachedByASecretOnly: a stranger who reaches the port that toot
// listen listens on can't make up events for --exec, whatever --callback-url is.
func TestListenIsReachedByASecretOnly(t *testing.T) {
	t.Parallel()
	const own = "a-long-secret-of-ones-own"
	s := serve(t)
	for _, path := range []string{"", "/", "/toot", "/toot/", "/toot?x=1", "/toot/" + own} {
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := free.Addr().String()
		_ = free.Close()
		file := filepath.Join(t.TempDir(), "events")
		l := start(t, "", "listen", "-c", "a", "-n", "1", "--publisher", s.url, "--listen", address, "--callback-url", "http://"+address+path, "--exec", `cat >> "`+file+`"`)
		l.await("listening to a")
		forged := func(path string) {
			t.Helper()
			status, body := curl(t, "-d", `{"id":"1","channel":"a","payload":"forged"}`, "http://"+address+path)
			wantStatus(t, "404", status, body)
		}
		forged("/")
		forged("/toot")
		forged("/toot/x?x=1")
		list := objects(t, command(t, "subscriptions", "--json", "--publisher", s.url).stdout)
		if len(list) != 1 {
			t.Fatalf("subscribed: %v", list)
		}
		url, _, _ := strings.Cut(list[0]["callback_url"].(string), "?")
		before, secret := url[:strings.LastIndexByte(url, '/')], url[strings.LastIndexByte(url, '/')+1:]
		plain, _, _ := strings.Cut(path, "?")
		if want := "http://" + address + strings.TrimSuffix(strings.TrimSuffix(plain, "/"), "/"+own); before != want || len(secret) < 20 || (secret == own) != strings.HasSuffix(path, own) {
			t.Errorf("--callback-url with %q is registered as %s", path, url)
		}
		wantCode(t, command(t, "publish", "a", `"genuine"`, "--publisher", s.url), 0)
		wantCode(t, l.wait(), 0)
		events, err := os.ReadFile(file)
		if err != nil || strings.Contains(string(events), "forged") || !strings.Contains(string(events), "genuine") {
			t.Errorf("%q: the command got %q (%v)", path, events, err)
		}
	}
	r := command(t, "listen", "-c", "a", "--publisher", s.url, "--callback-url", "nowhere")
	wantCode(t, r, 2)
	s.stop()
}

func TestPublishUsage(t *testing.T) {
	t.Parallel()
	for want, all := range map[int][][]string{
		2: {{"publish"}, {"publish", "c", "{"}, {"publish", "c", "text"}, {"publish", "c", "--publisher", "nowhere"}, {"listen"}, {"subscribe", "http://x"},
			{"subscribe", "--channel", "c"}, {"listen", "-c", "c", "--forward", "x"}, {"subscriptions", "x"}},
		1: {{"publish", "c", "--publisher", "http://127.0.0.1:1"}, {"subscriptions", "--publisher", "http://u:secret@127.0.0.1:1"}, {"listen", "-c", "c", "--publisher", "http://127.0.0.1:1"}},
	} {
		for _, args := range all {
			r := command(t, args...)
			wantCode(t, r, want)
			if strings.Count(r.stderr, "\n") != 1 || strings.Contains(r.stderr, "secret") {
				t.Errorf("toot %s says %q, want one line", strings.Join(args, " "), r.stderr)
			}
		}
	}
}

// TestServeIsSoonReady measures what an operator waits for.
func TestServeIsSoonReady(t *testing.T) {
	t.Parallel()
	began := time.Now()
	s := serve(t)
	t.Logf("ready after %v", time.Since(began).Round(time.Millisecond))
	s.stop()
}
