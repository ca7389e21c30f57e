package toot

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// DefaultRetryDelay is how long to wait before retry n (0, 1, 2 …):
// n⁴ + 15 + rand(0..9)·(n+1) seconds, the formula of Sidekiq, by which the
// original retries. 25 retries take about 20 days.
func DefaultRetryDelay(n int) time.Duration {
	jitter := rand.IntN(10) * (n + 1) //nolint:gosec // G404: jitter is no secret
	return time.Duration(n*n*n*n+15+jitter) * time.Second
}

// Try is one try of a job that went wrong.
type Try struct {
	At     time.Time `json:"at"`
	Status int       `json:"status,omitempty"` // of the HTTP answer, 0 if there was none
	Error  string    `json:"error"`
}

// history is what is kept of a job's tries, in engine.Claimed.History.
type history struct {
	// DueAge is the age of the job, in milliseconds since it was pushed, from
	// which the next try counts. One made before, because the lane's endpoint
	// is being probed or has named a time itself, costs the job none of its
	// retries. Ages come from the engine's clock, so that machines whose
	// clocks differ agree.
	DueAge int64 `json:"due_age"`
	Tries  []Try `json:"tries"` // the last ones, oldest first
	// Lost is how many claims that ended without an outcome, because a worker
	// died or stalled, have been held against the job.
	Lost int `json:"lost,omitempty"`
}

func decodeHistory(b []byte) history {
	var h history
	if len(b) > 0 {
		_ = json.Unmarshal(b, &h) // what can't be read is no reason to lose a job
	}
	return h
}

// lostClaims is how many claims of a job ended without an outcome and have not
// been held against it. It makes sense for jobs whose every try counts.
func lostClaims(c engine.Claimed) int {
	return max(c.Claims-1-c.Attempt-decodeHistory(c.History).Lost, 0)
}

// retryPolicy says how often and when.
type retryPolicy struct {
	max   int
	delay func(n int) time.Duration
	keep  int // tries in a history
}

// failure is a try that went wrong.
type failure struct {
	attempt int           // tries before this one that count
	history []byte        // as stored
	lost    int           // claims that ended without an outcome, to be held against the job
	age     time.Duration // of the job now
	at      time.Time     // for people to read
	verdict verdict
	// early, unless negative, makes the job due again after that time
	// instead of by the schedule.
	early time.Duration
	// wish, unless negative, replaces the schedule: the next try is after that
	// time, and counts.
	wish time.Duration
	// within, unless 0, makes the job due again after that time at the latest.
	within time.Duration
}

// outcome says what becomes of the job.
func (p retryPolicy) outcome(f failure) engine.Outcome {
	h := decodeHistory(f.history)
	h.Tries = append(h.Tries, Try{At: f.at.UTC().Truncate(time.Millisecond), Status: f.verdict.status, Error: f.verdict.reason})
	h.Lost += f.lost
	if extra := len(h.Tries) - p.keep; extra > 0 {
		h.Tries = h.Tries[extra:]
	}
	const slack = 50 * time.Millisecond // engines round
	attempt, dueAge := f.attempt, time.Duration(h.DueAge)*time.Millisecond
	counts := attempt == 0 || f.wish >= 0 || f.age+slack >= dueAge
	if counts {
		dueAge = f.age + max(p.delay(attempt), 0)
		attempt++
	}
	if f.wish >= 0 {
		dueAge = f.age + f.wish
	}
	h.DueAge = dueAge.Milliseconds()
	out := engine.Outcome{Result: engine.Retry, Attempt: attempt, After: max(dueAge-f.age, 0)}
	switch {
	case f.verdict.action == bury:
		out.Result, out.Reason = engine.Bury, f.verdict.reason
	case counts && attempt > p.max:
		out.Result, out.Reason = engine.Bury, fmt.Sprintf("%s (after %d tries)", f.verdict.reason, attempt)
	case f.early >= 0:
		out.After = f.early
	case f.within > 0:
		out.After = min(out.After, f.within)
	}
	encoded, err := json.Marshal(h)
	if err != nil { // times and strings always marshal
		panic(err)
	}
	out.History = encoded
	return out
}
