package toot

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

func TestVerdicts(t *testing.T) {
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	const most = time.Hour
	header := func(kv ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(kv); i += 2 {
			h.Set(kv[i], kv[i+1])
		}
		return h
	}
	unsubscribe := header("X-Toot-Unsubscribe", "True")
	for _, tc := range []struct {
		name   string
		status int
		header http.Header
		want   verdict // reason is not compared
	}{
		{"200", 200, nil, verdict{action: finish, signal: good}},
		{"204", 204, nil, verdict{action: finish, signal: good}},
		{"299", 299, nil, verdict{action: finish, signal: good}},
		{"200 unsubscribes", 200, unsubscribe, verdict{action: finish, signal: good, unsubscribe: true}},
		{"presence of the header counts", 200, header("X-Toot-Unsubscribe", ""), verdict{action: finish, signal: good, unsubscribe: true}},
		{"header counts on success only", 500, unsubscribe, verdict{action: tryAgain, signal: trouble}},
		{"410", 410, nil, verdict{action: bury, unsubscribe: true}},
		{"301", 301, nil, verdict{action: tryAgain, signal: trouble}},
		{"304", 304, nil, verdict{action: tryAgain, signal: trouble}},
		{"400", 400, nil, verdict{action: tryAgain, signal: neutral}},
		{"401", 401, nil, verdict{action: tryAgain, signal: trouble}},
		{"403", 403, nil, verdict{action: tryAgain, signal: trouble}},
		{"404", 404, nil, verdict{action: tryAgain, signal: trouble}},
		{"405", 405, nil, verdict{action: tryAgain, signal: trouble}},
		{"408", 408, nil, verdict{action: tryAgain, signal: trouble}},
		{"413", 413, nil, verdict{action: tryAgain, signal: neutral}},
		{"422", 422, nil, verdict{action: tryAgain, signal: neutral}},
		{"429", 429, nil, verdict{action: tryAgain, signal: trouble}},
		{"429 in seconds", 429, header("Retry-After", "7"), verdict{action: tryAgain, signal: trouble, after: 7 * time.Second, hasAfter: true, laneWaits: true}},
		{"503 in seconds", 503, header("Retry-After", " 7 "), verdict{action: tryAgain, signal: trouble, after: 7 * time.Second, hasAfter: true, laneWaits: true}},
		{"503 at a date", 503, header("Retry-After", "Mon, 23 Nov 2026 09:01:00 GMT"), verdict{action: tryAgain, signal: trouble, after: time.Minute, hasAfter: true, laneWaits: true}},
		{"503 in the past", 503, header("Retry-After", "Mon, 23 Nov 2026 08:00:00 GMT"), verdict{action: tryAgain, signal: trouble, hasAfter: true, laneWaits: true}},
		{"503 capped", 503, header("Retry-After", "999999999999"), verdict{action: tryAgain, signal: trouble, after: most, hasAfter: true, laneWaits: true}},
		{"503 unreadable", 503, header("Retry-After", "soon"), verdict{action: tryAgain, signal: trouble}},
		{"503 negative", 503, header("Retry-After", "-5"), verdict{action: tryAgain, signal: trouble}},
		{"500 with Retry-After", 500, header("Retry-After", "7"), verdict{action: tryAgain, signal: trouble}},
		{"600", 600, nil, verdict{action: tryAgain, signal: trouble}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := judge(tc.status, tc.header, now, most)
			if (got.action == finish) != (got.reason == "") {
				t.Errorf("reason %q", got.reason)
			}
			if got.status != tc.status {
				t.Errorf("status %d", got.status)
			}
			if got.action != tc.want.action || got.signal != tc.want.signal || got.after != tc.want.after ||
				got.hasAfter != tc.want.hasAfter || got.laneWaits != tc.want.laneWaits || got.unsubscribe != tc.want.unsubscribe {
				t.Errorf("got  %+v\nwant %+v", got, tc.want)
			}
		})
	}
}

func TestRetryDelayIsTheOriginals(t *testing.T) {
	var least, most time.Duration
	for n := range 25 {
		base := time.Duration(n*n*n*n+15) * time.Second
		spread := time.Duration(9*(n+1)) * time.Second
		for range 100 {
			if d := DefaultRetryDelay(n); d < base || d > base+spread || d%time.Second != 0 {
				t.Fatalf("DefaultRetryDelay(%d) = %v, want %v to %v", n, d, base, base+spread)
			}
		}
		least, most = least+base, most+base+spread
	}
	if days := least.Hours() / 24; days < 20 || days > 21 {
		t.Errorf("25 retries take at least %.1f days, want about 20", days)
	}
}

func TestFailuresFollowTheSchedule(t *testing.T) {
	p := retryPolicy{keep: 10, max: 3, delay: func(n int) time.Duration { return time.Duration(n+1) * time.Minute }}
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	f := failure{at: at, verdict: verdict{action: tryAgain, status: 500, reason: "answered with status 500"}, early: -1, wish: -1}
	for n := range 3 {
		out := p.outcome(f)
		if out.Result != engine.Retry || out.Attempt != n+1 || out.After != time.Duration(n+1)*time.Minute {
			t.Fatalf("failure %d: %+v", n+1, out)
		}
		f.attempt, f.history, f.age = out.Attempt, out.History, f.age+out.After
	}
	out := p.outcome(f)
	if out.Result != engine.Bury || out.Attempt != 4 || !strings.Contains(out.Reason, "status 500 (after 4 tries)") {
		t.Fatalf("after the last retry: %+v", out)
	}
	h := decodeHistory(out.History)
	if len(h.Tries) != 4 || h.Tries[0].Status != 500 || !h.Tries[0].At.Equal(at) {
		t.Errorf("history %+v", h)
	}
}

func TestEarlyTriesCostNoRetry(t *testing.T) {
	p := retryPolicy{keep: 10, max: 1, delay: func(int) time.Duration { return time.Hour }}
	f := failure{verdict: verdict{action: tryAgain, reason: "refused"}, early: 0, wish: -1}
	out := p.outcome(f) // the first try counts
	if out.Attempt != 1 || out.After != 0 {
		t.Fatalf("first failure: %+v", out)
	}
	for range 30 { // a probe a minute, for half an hour
		f.attempt, f.history, f.age = out.Attempt, out.History, f.age+time.Minute
		if out = p.outcome(f); out.Result != engine.Retry || out.Attempt != 1 {
			t.Fatalf("a probe at age %v cost a retry: %+v", f.age, out)
		}
	}
	f.attempt, f.history, f.early = out.Attempt, out.History, -1
	if out = p.outcome(f); out.After != time.Hour-f.age {
		t.Errorf("the schedule was lost: again after %v at age %v", out.After, f.age)
	}
	f.history, f.age, f.early = out.History, time.Hour, 0
	if out = p.outcome(f); out.Result != engine.Bury {
		t.Errorf("the last retry was never spent: %+v", out)
	}
	f.attempt = 0 // redriven: with all its retries
	if out = p.outcome(f); out.Result != engine.Retry || out.Attempt != 1 {
		t.Errorf("redriven: %+v", out)
	}
}

func TestAWishReplacesTheScheduleAndCounts(t *testing.T) {
	p := retryPolicy{keep: 10, max: 2, delay: func(int) time.Duration { return time.Hour }}
	f := failure{verdict: verdict{action: tryAgain, reason: "soon"}, early: -1, wish: time.Second}
	for n := range 2 {
		out := p.outcome(f)
		if out.Result != engine.Retry || out.Attempt != n+1 || out.After != time.Second {
			t.Fatalf("failure %d: %+v", n+1, out)
		}
		f.attempt, f.history, f.age = out.Attempt, out.History, f.age+time.Second
	}
	if out := p.outcome(f); out.Result != engine.Bury {
		t.Errorf("it never ends: %+v", out)
	}
}

func TestClaimsThatWereLostAreHeldAgainstAJobOnce(t *testing.T) {
	p := retryPolicy{keep: 10, max: 25, delay: DefaultRetryDelay}
	c := engine.Claimed{Claims: 4} // three processes died
	if lost := lostClaims(c); lost != 3 {
		t.Fatalf("lost %d, want 3", lost)
	}
	out := p.outcome(failure{verdict: verdict{action: tryAgain}, lost: 3, early: -1, wish: -1})
	c = engine.Claimed{Claims: 5, Attempt: out.Attempt, History: out.History}
	if lost := lostClaims(c); lost != 0 {
		t.Errorf("then lost %d, want 0", lost)
	}
	c.Claims++
	if lost := lostClaims(c); lost != 1 {
		t.Errorf("after one more: %d, want 1", lost)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	p := retryPolicy{keep: 10, max: 1000, delay: func(int) time.Duration { return 0 }}
	var history []byte
	for i := range 100 {
		out := p.outcome(failure{attempt: i, history: history, verdict: verdict{action: tryAgain, status: i}, early: -1, wish: -1})
		history = out.History
	}
	h := decodeHistory(history)
	if len(h.Tries) != 10 || h.Tries[9].Status != 99 {
		t.Errorf("kept %d tries, the last %+v", len(h.Tries), h.Tries[len(h.Tries)-1])
	}
	if got := decodeHistory([]byte("garbage")); len(got.Tries) != 0 {
		t.Errorf("garbage: %+v", got)
	}
}

func TestCapacityFollowsThePace(t *testing.T) {
	now := time.Now()
	l := newLane("work", laneLimit{max: 4}, time.Minute)
	if n := l.capacity(); n != 16 {
		t.Errorf("of a new lane: %d", n)
	}
	for range 1000 { // a job each 100 µs
		now = now.Add(time.Millisecond)
		l.count(10, now)
	}
	if n := l.capacity(); n < 4500 || n > 5500 {
		t.Errorf("at 10,000 jobs a second: %d", n)
	}
	l.count(1, now.Add(time.Minute))
	if n := l.capacity(); n != 16 {
		t.Errorf("at a job a minute: %d", n)
	}
	l.pace = 1e9
	if n := l.capacity(); n != maxCapacity {
		t.Errorf("at any pace: %d", n)
	}
}

// Many requests in flight are for endpoints where they don't queue up.
func TestManyRequestsAreForTheVeryQuick(t *testing.T) {
	h := newHealth(128, time.Minute)
	for range 1000 {
		h.good(veryQuick, 4*time.Second)
	}
	if h.limit != manyRequests {
		t.Errorf("an endpoint that answers in %v gets %d", veryQuick, h.limit)
	}
	for range 1000 {
		h.good(veryQuick-1, 4*time.Second)
	}
	if h.limit != 128 {
		t.Errorf("an endpoint that answers in less gets %d", h.limit)
	}
}

func TestCircuit(t *testing.T) {
	h := newHealth(32, time.Minute)
	if h.limit != 1 || !h.sick() || h.open() {
		t.Fatalf("a new lane: %+v", h)
	}
	for range 100 {
		h.good(time.Second, 4*time.Second)
	}
	if h.limit != 32 || h.sick() {
		t.Fatalf("after good answers: %+v", h)
	}
	h.good(time.Second, time.Second)
	for i := range 4 {
		if rest := h.bad(false, 0); rest != 0 {
			t.Fatalf("rests after failure %d", i+1)
		}
	}
	if h.limit != 2 || !h.sick() {
		t.Errorf("after four failures: %+v", h)
	}
	want := []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60}
	for i, seconds := range want {
		if rest := h.bad(false, 0); rest != seconds*time.Second {
			t.Errorf("rest %d is %v, want %vs", i, rest, seconds)
		}
		if !h.open() || h.limit != 1 {
			t.Errorf("not open: %+v", h)
		}
	}
	for range 100 {
		h.bad(false, 0)
	}
	if rest := h.bad(false, 0.999); rest < 48*time.Second || rest > time.Minute {
		t.Errorf("with jitter: %v", rest)
	}
	h.good(time.Second, 4*time.Second)
	if h.open() || h.sick() {
		t.Errorf("after a good probe: %+v", h)
	}
	h.bad(true, 0)
	if rest := h.bad(true, 0); rest != time.Second {
		t.Errorf("two requests that hang: rest %v", rest)
	}
}

func TestHandlerErrors(t *testing.T) {
	cause := errors.New("cause")
	if Permanent(nil) != nil || RetryAfter(time.Second, nil) != nil {
		t.Error("nil is no error")
	}
	if err := Permanent(cause); !errors.Is(err, cause) || err.Error() != "cause" {
		t.Errorf("%v", err)
	}
	if err := RetryAfter(time.Second, cause); !errors.Is(err, cause) {
		t.Errorf("%v", err)
	}
}

func TestURLsAreRedacted(t *testing.T) {
	for raw, want := range map[string]string{
		"https://app.example.org/callbacks":              "https://app.example.org/callbacks",
		"https://user:secret@app.example.org/c":          "https://redacted@app.example.org/c",
		"https://app.example.org/c?token=secret":         "https://app.example.org/c?redacted",
		"https://secret@app.example.org/c?t=secret#frag": "https://redacted@app.example.org/c?redacted#frag",
		"org.example.channel":                            "org.example.channel",
	} {
		if got := redactURL(raw); got != want {
			t.Errorf("redactURL(%q) = %q, want %q", raw, got, want)
		}
	}
}
