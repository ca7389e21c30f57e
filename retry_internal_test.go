package toot

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/lanes"
)

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
	f := lanes.Failure{At: at, Verdict: lanes.Verdict{Action: lanes.TryAgain, Status: 500, Reason: "answered with status 500"}, ProbeIn: -1, AskedFor: -1}
	for n := range 3 {
		out := p.outcome(f)
		if out.Result != engine.Retry || out.Attempt != n+1 || out.After != time.Duration(n+1)*time.Minute {
			t.Fatalf("failure %d: %+v", n+1, out)
		}
		f.Attempt, f.History, f.Age = out.Attempt, out.History, f.Age+out.After
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

func TestProbesCostNoRetry(t *testing.T) {
	p := retryPolicy{keep: 10, max: 1, delay: func(int) time.Duration { return time.Hour }}
	f := lanes.Failure{Verdict: lanes.Verdict{Action: lanes.TryAgain, Reason: "refused"}, ProbeIn: 0, AskedFor: -1}
	out := p.outcome(f) // the first try counts
	if out.Attempt != 1 || out.After != 0 {
		t.Fatalf("first failure: %+v", out)
	}
	for range 30 { // a probe a minute, for half an hour
		f.Attempt, f.History, f.Age = out.Attempt, out.History, f.Age+time.Minute
		if out = p.outcome(f); out.Result != engine.Retry || out.Attempt != 1 {
			t.Fatalf("a probe at age %v cost a retry: %+v", f.Age, out)
		}
	}
	f.Attempt, f.History, f.ProbeIn = out.Attempt, out.History, -1
	if out = p.outcome(f); out.After != time.Hour-f.Age {
		t.Errorf("the schedule was lost: again after %v at age %v", out.After, f.Age)
	}
	f.History, f.Age, f.ProbeIn = out.History, time.Hour, 0
	if out = p.outcome(f); out.Result != engine.Bury {
		t.Errorf("the last retry was never spent: %+v", out)
	}
	if h := decodeHistory(out.History); !strings.HasSuffix(out.Reason, "(after 2 tries and 31 probes)") || h.Probes != 31 {
		t.Errorf("of 2 tries and 31 probes it says %q, %d", out.Reason, h.Probes)
	}
	for _, try := range decodeHistory(out.History).Tries[:9] {
		if try.Attempt != 1 || !try.Probe {
			t.Errorf("a probe after the first try is %+v", try)
		}
	}
	if last := decodeHistory(out.History).Tries[9]; last.Attempt != 2 || last.Probe {
		t.Errorf("the second try is %+v", last)
	}
	f.History = out.History
	f.Attempt = 0 // redriven: with all its retries
	if out = p.outcome(f); out.Result != engine.Retry || out.Attempt != 1 || decodeHistory(out.History).Probes != 0 {
		t.Errorf("redriven: %+v", out)
	}
}

func TestATimeThatWasAskedForReplacesTheScheduleAndCounts(t *testing.T) {
	p := retryPolicy{keep: 10, max: 2, delay: func(int) time.Duration { return time.Hour }}
	f := lanes.Failure{Verdict: lanes.Verdict{Action: lanes.TryAgain, Reason: "soon"}, ProbeIn: -1, AskedFor: time.Second}
	for n := range 2 {
		out := p.outcome(f)
		if out.Result != engine.Retry || out.Attempt != n+1 || out.After != time.Second {
			t.Fatalf("failure %d: %+v", n+1, out)
		}
		f.Attempt, f.History, f.Age = out.Attempt, out.History, f.Age+time.Second
	}
	if out := p.outcome(f); out.Result != engine.Bury {
		t.Errorf("it never ends: %+v", out)
	}
}

func TestClaimsThatWereLostAreHeldAgainstAJobOnce(t *testing.T) {
	p := retryPolicy{keep: 10, max: 25, delay: DefaultRetryDelay}
	j := &lanes.Job{Claims: 4} // three processes died
	if lost := lostClaims(j); lost != 3 {
		t.Fatalf("lost %d, want 3", lost)
	}
	out := p.outcome(lanes.Failure{Verdict: lanes.Verdict{Action: lanes.TryAgain, LostClaims: 3}, ProbeIn: -1, AskedFor: -1})
	j = &lanes.Job{Claims: 5, Attempt: out.Attempt, History: out.History}
	if lost := lostClaims(j); lost != 0 {
		t.Errorf("then lost %d, want 0", lost)
	}
	j.Claims++
	if lost := lostClaims(j); lost != 1 {
		t.Errorf("after one more: %d, want 1", lost)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	p := retryPolicy{keep: 10, max: 1000, delay: func(int) time.Duration { return 0 }}
	var history []byte
	for i := range 100 {
		out := p.outcome(lanes.Failure{Attempt: i, History: history, Verdict: lanes.Verdict{Action: lanes.TryAgain, Status: i}, ProbeIn: -1, AskedFor: -1})
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
