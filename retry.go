package toot

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/lanes"
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
	// Attempt is which try it was, from 1. A probe has the number of the try
	// before it. 0 if it was made by a version that did not note it.
	Attempt int `json:"attempt,omitempty"`
	// Probe says that it was made before its time to see whether an endpoint
	// that kept failing works again, and cost none of the retries.
	Probe bool `json:"probe,omitempty"`
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
	// Probes is how many probes failed since the job was last due with all its
	// retries.
	Probes int `json:"probes,omitempty"`
}

func decodeHistory(b []byte) history {
	if len(b) == 0 {
		return history{}
	}
	var h history
	_ = json.Unmarshal(b, &h) // what can't be read is no reason to lose a job
	return h
}

// lostClaims is how many claims of a job ended without an outcome and have not
// been held against it. It makes sense for jobs whose every try counts.
func lostClaims(j *lanes.Job) int {
	return max(j.Claims-1-j.Attempt-decodeHistory(j.History).Lost, 0)
}

// retryPolicy says how often and when.
type retryPolicy struct {
	max   int
	delay func(n int) time.Duration
	keep  int // tries in a history
}

// outcome says what becomes of the job.
func (p retryPolicy) outcome(f lanes.Failure) engine.Outcome {
	h := decodeHistory(f.History)
	h.Lost += f.Verdict.LostClaims
	const slack = 50 * time.Millisecond // engines round
	attempt, dueAge := f.Attempt, time.Duration(h.DueAge)*time.Millisecond
	counts := attempt == 0 || f.AskedFor >= 0 || f.Age+slack >= dueAge
	if counts {
		dueAge = f.Age + max(p.delay(attempt), 0)
		attempt++
	} else {
		h.Probes++
	}
	if f.Attempt == 0 { // new, or redriven
		h.Probes = 0
	}
	h.note(Try{At: f.At.UTC().Truncate(time.Millisecond), Status: f.Verdict.Status, Error: f.Verdict.Reason, Attempt: attempt, Probe: !counts}, p.keep)
	if f.AskedFor >= 0 {
		dueAge = f.Age + f.AskedFor
	}
	h.DueAge = dueAge.Milliseconds()
	out := engine.Outcome{Result: engine.Retry, Attempt: attempt, After: max(dueAge-f.Age, 0)}
	switch {
	case f.Verdict.Action == lanes.Bury:
		out.Result, out.Reason = engine.Bury, f.Verdict.Reason
	case counts && attempt > p.max:
		out.Result, out.Reason = engine.Bury, fmt.Sprintf("%s (after %s)", f.Verdict.Reason, triesAndProbes(attempt, h.Probes))
	case f.ProbeIn >= 0:
		out.After = f.ProbeIn
	case f.NoLaterThan > 0:
		out.After = min(out.After, f.NoLaterThan)
	}
	encoded, err := json.Marshal(h)
	if err != nil { // times and strings always marshal
		panic(err)
	}
	out.History = encoded
	return out
}

// note adds a try, of which the last so many are kept.
func (h *history) note(t Try, keep int) {
	h.Tries = append(h.Tries, t)
	if extra := len(h.Tries) - keep; extra > 0 {
		h.Tries = h.Tries[extra:]
	}
}

// triesAndProbes says how many there were: "3 tries and 1 probe".
func triesAndProbes(tries, probes int) string {
	text := fmt.Sprintf("%d tries", tries)
	if tries == 1 {
		text = "1 try"
	}
	switch probes {
	case 0:
		return text
	case 1:
		return text + " and 1 probe"
	}
	return fmt.Sprintf("%s and %d probes", text, probes)
}
