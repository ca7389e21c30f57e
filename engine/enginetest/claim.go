package enginetest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

var claimChecks = []check{
	{"of_an_empty_store_finds_nothing", 0, claimEmpty},
	{"with_an_invalid_request_is_refused", 0, claimInvalid},
	{"hands_out_each_job_once", 0, claimOnce},
	{"keeps_the_order_of_a_lane", 0, claimOrder},
	{"keeps_the_order_in_which_jobs_become_due", 0, claimDueOrder},
	{"serves_the_oldest_lanes_first", 0, claimOldestLanes},
	{"gives_lanes_equal_shares", 0, claimEqualShares},
	{"gives_no_lane_a_second_share_before_all_had_one", 0, claimManyLanes},
	{"lets_no_huge_lane_starve_small_ones", 0, claimHugeLane},
	{"keeps_to_MaxPerLane", 0, claimMaxPerLane},
	{"keeps_to_Limits", 0, claimLimits},
	{"keeps_to_Only", 0, claimOnly},
	{"keeps_kinds_apart", 0, claimKinds},
	{"tells_attempt_history_and_claims", 0, claimFields},
	{"tells_the_age", 0, claimAge},
}

func claimEmpty(e *env) {
	a := e.open()
	for _, k := range kinds {
		res := a.claim(engine.ClaimRequest{Kind: k})
		if len(res.Jobs) != 0 {
			e.Errorf("Claim from an empty store must find nothing: got %s", list(res.Jobs))
		}
		if res.Next >= 0 {
			e.Errorf("Next must be negative when no job is known: got %v", res.Next)
		}
	}
}

func claimInvalid(e *env) {
	a := e.open()
	a.push(job("e", deliver("lane")))
	good := engine.ClaimRequest{Kind: engine.Deliver, Max: 1, MaxPerLane: 1, Lease: time.Minute}
	for what, spoil := range map[string]func(*engine.ClaimRequest){
		"Max 0":             func(r *engine.ClaimRequest) { r.Max = 0 },
		"a negative Max":    func(r *engine.ClaimRequest) { r.Max = -1 },
		"MaxPerLane 0":      func(r *engine.ClaimRequest) { r.MaxPerLane = 0 },
		"no lease":          func(r *engine.ClaimRequest) { r.Lease = 0 },
		"a negative lease":  func(r *engine.ClaimRequest) { r.Lease = -1 },
		"no kind":           func(r *engine.ClaimRequest) { r.Kind = 0 },
		"a kind of no name": func(r *engine.ClaimRequest) { r.Kind = 77 },
	} {
		req := good
		spoil(&req)
		if _, err := a.Claim(e.ctx, req); !errors.Is(err, engine.ErrInvalid) {
			e.Errorf("Claim with %s must return ErrInvalid: got %v", what, err)
		}
	}
	a.one("a Claim that is refused claims nothing", deliver("lane"))
}

func claimOnce(e *env) {
	a := e.open()
	const lanes, n = 30, 50
	for i := range lanes {
		a.push(jobs("e", n, deliver(fmt.Sprint("lane", i)))...)
	}
	seen := map[string]bool{}
	for {
		res := a.claim(engine.ClaimRequest{Max: 400})
		if len(res.Jobs) == 0 {
			break
		}
		for _, j := range res.Jobs {
			key := j.Event.ID + "@" + j.Lane.Name
			if seen[key] {
				e.Fatalf("Claim must hand out a leased job to nobody: %s came twice", key)
			}
			seen[key] = true
		}
	}
	if len(seen) != lanes*n {
		e.Fatalf("Claim must hand out every due job: got %d of %d", len(seen), lanes*n)
	}
}

// Jobs of one call may have become due at the same time; jobs of calls one
// after another have not.
func claimOrder(e *env) {
	a, l := e.open(), deliver("lane")
	var want []string
	for i := range 12 {
		id := fmt.Sprint((i * 7) % 12) // not in the order of the IDs
		a.push(job(id, l))
		want = append(want, id)
		e.tick()
	}
	var got []string
	for _, n := range []int{1, 3, 5, 100} {
		got = append(got, ids(a.claim(engine.ClaimRequest{Max: n}).Jobs)...)
	}
	if !slices.Equal(got, want) {
		e.Fatalf("within a lane jobs must come in the order in which they became due: pushed %v, claimed %v", want, got)
	}
}

func claimDueOrder(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(job("first", l))
	first := a.one("a pushed job is due", l)
	a.push(engine.Job{Event: event("delayed"), Lane: l, Delay: 4 * clockGrain})
	e.pass(time.Now(), 8*clockGrain)
	a.push(job("last", l))
	e.tick()
	a.works("Retry takes effect", outcome(first, engine.Retry))
	if got, want := ids(a.take(l)), []string{"delayed", "last", "first"}; !slices.Equal(got, want) {
		e.Fatalf("within a lane jobs must come in the order in which they became due, after a delay or a retry too: got %v, want %v", got, want)
	}
}

func claimOldestLanes(e *env) {
	a := e.open()
	names := []string{"m", "c", "x", "a", "k", "b"}
	for _, n := range names {
		// Of each lane two, the second due much later than those of other lanes.
		a.push(job("1", deliver(n)))
		e.tick()
	}
	for _, n := range names {
		a.push(job("2", deliver(n)))
		e.tick()
	}
	var got []string
	for _, j := range a.claim(engine.ClaimRequest{Max: 3, MaxPerLane: 1}).Jobs {
		got = append(got, j.Lane.Name)
	}
	if want := names[:3]; !slices.Equal(sorted(got), sorted(want)) {
		e.Fatalf("Claim must serve the oldest lanes first: got %v, want %v", got, want)
	}
	// The rest have the earlier due jobs now, whatever else they hold.
	got = nil
	for _, j := range a.claim(engine.ClaimRequest{Max: 3, MaxPerLane: 1}).Jobs {
		got = append(got, j.Lane.Name)
	}
	if want := names[3:]; !slices.Equal(sorted(got), sorted(want)) {
		e.Fatalf("Claim must take a lane's earliest due job for its age: got %v, want %v", got, want)
	}
}

func claimEqualShares(e *env) {
	a := e.open()
	const lanes = 10
	for i := range lanes {
		a.push(jobs("e", 20+i, deliver(fmt.Sprint("lane", i)))...)
	}
	for _, share := range []int{1, 3} {
		res := a.claim(engine.ClaimRequest{Max: share * lanes})
		for i := range lanes {
			if n := perLane(res.Jobs)[fmt.Sprint("lane", i)]; n != share {
				e.Fatalf("Claim must give lanes equal shares: %d jobs of %d lanes were %v", share*lanes, lanes, perLane(res.Jobs))
			}
		}
	}
}

func claimManyLanes(e *env) {
	a := e.open()
	const lanes, limit = 60, 25
	for i := range lanes {
		a.push(jobs("e", 5, deliver(fmt.Sprint("lane", i)))...)
	}
	res := a.claim(engine.ClaimRequest{Max: limit})
	if n := len(perLane(res.Jobs)); n != limit {
		e.Fatalf("Claim must give no lane a second share before the others had a first: %d jobs came from %d of %d lanes", len(res.Jobs), n, lanes)
	}
}

func claimHugeLane(e *env) {
	a := e.open()
	a.push(jobs("huge", 500, deliver("huge"))...)
	e.tick()
	for i := range 5 {
		a.push(jobs("small", 2, deliver(fmt.Sprint("small", i)))...)
	}
	res := a.claim(engine.ClaimRequest{Max: 20})
	got := perLane(res.Jobs)
	for i := range 5 {
		if got[fmt.Sprint("small", i)] != 2 {
			e.Fatalf("a huge lane must not starve small ones: 20 jobs were %v, want 2 of each small lane", got)
		}
	}
	if got["huge"] != 10 {
		e.Fatalf("what small lanes leave must go to the huge one: 20 jobs were %v, want 10 of the huge lane", got)
	}
}

func claimMaxPerLane(e *env) {
	a := e.open()
	for _, n := range []string{"a", "b", "c"} {
		a.push(jobs("e", 10, deliver(n))...)
	}
	if got := perLane(a.claim(engine.ClaimRequest{MaxPerLane: 4}).Jobs); got["a"] != 4 || got["b"] != 4 || got["c"] != 4 {
		e.Fatalf("Claim must hand out up to MaxPerLane of each lane: got %v, want 4 of each", got)
	}
	// It is a limit of one call, not of what is leased.
	if got := perLane(a.claim(engine.ClaimRequest{MaxPerLane: 4}).Jobs); got["a"] != 4 || got["b"] != 4 || got["c"] != 4 {
		e.Fatalf("MaxPerLane must be a limit of one call: the second got %v, want 4 of each", got)
	}
}

func claimLimits(e *env) {
	a := e.open()
	for _, n := range []string{"down", "up", "out", "plain"} {
		a.push(jobs("e", 10, deliver(n))...)
	}
	limits := map[string]int{"down": 1, "up": 7, "out": 0, "unknown": 5}
	want := map[string]int{"down": 1, "up": 7, "plain": 3}
	got := perLane(a.claim(engine.ClaimRequest{MaxPerLane: 3, Limits: limits}).Jobs)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		e.Fatalf("Limits must replace MaxPerLane for the lanes they name: with %v and MaxPerLane 3 got %v, want %v", limits, got, want)
	}
	if got := perLane(a.claim(engine.ClaimRequest{MaxPerLane: 20, Only: []string{"out", "up"}, Limits: map[string]int{"up": 0}}).Jobs); got["out"] != 10 || len(got) != 1 {
		e.Fatalf("a limit of 0 must leave out a lane of Only: got %v, want 10 of out", got)
	}
}

func claimOnly(e *env) {
	a := e.open()
	for _, n := range []string{"a", "b", "c", "*", "%"} {
		a.push(jobs("e", 3, deliver(n))...)
	}
	got := perLane(a.claim(engine.ClaimRequest{Only: []string{"b", "unknown", "%"}}).Jobs)
	if fmt.Sprint(got) != fmt.Sprint(map[string]int{"b": 3, "%": 3}) {
		e.Fatalf("Only must restrict a claim to the lanes it names: got %v of b, unknown and %%", got)
	}
	if got := a.claim(engine.ClaimRequest{Only: []string{}}).Jobs; len(got) != 0 {
		e.Fatalf("Only that is empty and not nil must name no lane: got %s", list(got))
	}
	if got := a.claim(engine.ClaimRequest{Only: []string{"unknown"}}).Jobs; len(got) != 0 {
		e.Fatalf("Only with an unknown lane must find nothing: got %s", list(got))
	}
	if got := a.claim(engine.ClaimRequest{Only: []string{"c", "c"}, Max: 2}).Jobs; len(got) != 2 {
		e.Fatalf("Only may name a lane twice: got %s, want 2 jobs", list(got))
	}
	if got := perLane(a.claim(engine.ClaimRequest{}).Jobs); fmt.Sprint(got) != fmt.Sprint(map[string]int{"a": 3, "c": 1, "*": 3}) {
		e.Fatalf("a claim restricted by Only must leave the other lanes alone: there was %v left", got)
	}
}

func claimKinds(e *env) {
	a := e.open()
	for _, k := range kinds {
		a.push(job(k.String(), engine.Lane{Kind: k, Name: "lane"}))
	}
	for _, k := range kinds {
		j := a.one("kinds are claimed apart", engine.Lane{Kind: k, Name: "lane"})
		if j.Event.ID != k.String() {
			e.Errorf("Claim must hand out the kind it was asked for: got %s for %v", j.Event.ID, k)
		}
		j2 := engine.Outcome{Ticket: j.Ticket, Result: engine.Release}
		a.works("Release takes effect", j2)
		a.oneOf("kinds are claimed apart, without Only too", engine.ClaimRequest{Kind: k})
	}
}

func claimFields(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(job("e", l))
	j := a.one("a pushed job is due", l)
	if j.Attempt != 0 || len(j.History) != 0 || j.Claims != 1 {
		e.Errorf("a new job must come with attempt 0, no history and Claims 1: got %d, %q, %d", j.Attempt, j.History, j.Claims)
	}
	history := []byte("\x00\xff{\"status\": 500}\n'\"")
	for i := 1; i <= 3; i++ {
		o := outcome(j, engine.Retry)
		o.Attempt, o.History = i*10, history[:len(history)-i]
		a.works("Retry takes effect", o)
		j = a.one("Retry after 0 makes a job due at once", l)
		if j.Attempt != o.Attempt || string(j.History) != string(o.History) {
			e.Errorf("Claim must tell attempt and history as the last Retry left them: got %d, %q, want %d, %q", j.Attempt, j.History, o.Attempt, o.History)
		}
		if j.Claims != i+1 {
			e.Errorf("Claims must count every claim: got %d at claim %d", j.Claims, i+1)
		}
	}
	o := outcome(j, engine.Retry)
	o.Attempt = 1
	a.works("Retry takes effect", o)
	if j = a.one("a retried job is due", l); j.Attempt != 1 || len(j.History) != 0 {
		e.Errorf("Retry must replace attempt and history, with less too: got %d, %q, want 1 and none", j.Attempt, j.History)
	}
}

func claimAge(e *env) {
	a, l := e.open(), deliver("lane")
	before := time.Now()
	a.push(engine.Job{Event: event("e"), Lane: l, Delay: brief})
	for range 2 {
		j := a.soon("a delayed job is due after its delay", before, brief, l)
		if high := time.Since(before); j.Age > high+clockGrain || j.Age < brief-2*clockGrain {
			e.Errorf("Age must be the time since the job was pushed: got %v, want %v to %v", j.Age, brief, high)
		}
		o := outcome(j, engine.Retry)
		o.Attempt = 1
		a.works("Retry takes effect", o)
	}
}
