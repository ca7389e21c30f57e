package sqliteengine

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// TestWhateverIsDoneTheFileAddsUp does what comes to mind; checkFile holds
// the rows against each other, and the model knows how many jobs there are.
func TestWhateverIsDoneTheFileAddsUp(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 0))
			file := tempFile(t)
			engines := []*Engine{open(t, file, nil), open(t, file, nil)}
			lanes := make([]engine.Lane, 6)
			for i := range lanes {
				lanes[i] = engine.Lane{Kind: engine.Deliver, Name: fmt.Sprint("lane", i)}
			}
			jobs, next := 0, 0
			stored := map[string]bool{} // by event and lane
			var mine []engine.Ticket
			eventOf := map[engine.Ticket]string{}

			// make builds jobs about one event, some of them twice, and
			// counts those that are new.
			build := func(event *engine.Event, id string) (out []engine.Job, fresh []string) {
				for range r.IntN(5) {
					l := lanes[r.IntN(len(lanes))]
					j := engine.Job{Event: event, Lane: l}
					if r.IntN(2) == 0 {
						j.Lease = time.Minute
					}
					out = append(out, j)
					fresh = append(fresh, id+" "+l.Name)
				}
				return out, fresh
			}
			// arrived notes which jobs of a call are new and which tickets
			// belong to whom.
			arrived := func(built []engine.Job, keys []string, tickets []engine.Ticket, id string) {
				for i, key := range keys {
					if stored[key] {
						if tickets[i] != "" {
							t.Fatalf("a ticket for %s, which was there", key)
						}
						continue
					}
					stored[key] = true
					jobs++
					if built[i].Lease > 0 {
						if tickets[i] == "" {
							t.Fatalf("no ticket for %s", key)
						}
						mine = append(mine, tickets[i])
						eventOf[tickets[i]] = id
					}
				}
			}
			for range 300 {
				e := engines[r.IntN(len(engines))]
				switch r.IntN(4) {
				case 0: // push
					var all []engine.Job
					var keys [][]string
					var ids []string
					var parts [][]engine.Job
					for range 1 + r.IntN(4) {
						id := fmt.Sprint("event", next)
						if next++; r.IntN(4) == 0 {
							id = fmt.Sprint("event", r.IntN(next))
						}
						part, k := build(&engine.Event{ID: id}, id)
						all, keys, ids, parts = append(all, part...), append(keys, k), append(ids, id), append(parts, part)
					}
					tickets := push(t, e, all)
					for i := range parts {
						n := len(parts[i])
						arrived(parts[i], keys[i], tickets[:n], ids[i])
						tickets = tickets[n:]
					}
				case 1: // claim
					res, err := e.Claim(t.Context(), engine.ClaimRequest{Kind: engine.Deliver, Max: 1 + r.IntN(20), MaxPerLane: 1 + r.IntN(8), Lease: time.Minute})
					if err != nil {
						t.Fatal(err)
					}
					for _, j := range res.Jobs {
						mine = append(mine, j.Ticket)
						eventOf[j.Ticket] = j.Event.ID
					}
				default: // settle
					r.Shuffle(len(mine), func(i, k int) { mine[i], mine[k] = mine[k], mine[i] })
					n := min(len(mine), r.IntN(20))
					outcomes := make([]engine.Outcome, n)
					keys := make([][]string, n)
					for i := range outcomes {
						o := &outcomes[i]
						o.Ticket, o.Result = mine[i], engine.Result(1+r.IntN(int(engine.Extend)))
						if o.Result == engine.Extend {
							o.After = time.Minute
							if r.IntN(2) == 0 {
								o.History = []byte("so far")
							}
						}
						if r.IntN(3) == 0 {
							o.Follow, keys[i] = build(nil, eventOf[o.Ticket])
						}
					}
					mine = mine[n:]
					settled, err := e.Settle(t.Context(), outcomes)
					if err != nil {
						t.Fatal(err)
					}
					for i, s := range settled {
						o := outcomes[i]
						if !s.OK {
							t.Fatalf("a good ticket did not settle")
						}
						switch o.Result {
						case engine.Done, engine.Bury:
							jobs--
						case engine.Extend:
							mine = append(mine, s.Ticket)
							eventOf[s.Ticket] = eventOf[o.Ticket]
						}
						arrived(o.Follow, keys[i], s.Follow, eventOf[o.Ticket])
					}
				}
			}
			stats, err := engines[0].Lanes(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got := 0
			for _, s := range stats {
				got += s.Waiting + s.Leased
			}
			if got != jobs {
				t.Errorf("the file holds %d jobs, want %d", got, jobs)
			}
			for _, e := range engines {
				lanePage(t, e, engine.LaneQuery{}) // writes what it owes
			}
			for i, l := range lanePage(t, engines[0], engine.LaneQuery{}) {
				if s := stats[i]; l.Lane != s.Lane || l.Jobs != s.Waiting+s.Leased {
					t.Errorf("the page says %+v of the lane %+v", l, s)
				}
			}
		})
	}
}

func TestExtendSpendsTheTicketEvenIfTheLeaseEndsAtTheSameTime(t *testing.T) {
	t.Parallel()
	clock := newFakeClock()
	e := open(t, tempFile(t), &Options{Time: clock.read})
	old := push(t, e, newJobs("a", 3, testLane, time.Minute))
	settled, err := e.Settle(t.Context(), []engine.Outcome{
		{Ticket: old[0], Result: engine.Extend, After: time.Minute},
		{Ticket: old[1], Result: engine.Extend, After: time.Minute},
		{Ticket: old[2], Result: engine.Extend, After: time.Minute},
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := settleAll(t, e, old, engine.Outcome{Result: engine.Done}); n != 0 {
		t.Errorf("%d of the old tickets are still good", n)
	}
	for i, s := range settled {
		if n := settleAll(t, e, []engine.Ticket{s.Ticket}, engine.Outcome{Result: engine.Done}); n != 1 {
			t.Errorf("the new ticket of job %d is not good", i)
		}
	}
}

func TestALeaseThatEndsIsFoundInALaneWithoutOtherJobs(t *testing.T) {
	t.Parallel()
	clock := newFakeClock()
	e := open(t, tempFile(t), &Options{Time: clock.read})
	push(t, e, newJobs("a", 3, testLane, time.Minute))
	req := engine.ClaimRequest{Kind: engine.Deliver, Max: 10, MaxPerLane: 10, Lease: time.Minute}
	res, err := e.Claim(t.Context(), req)
	if err != nil || len(res.Jobs) != 0 || res.Next != time.Minute {
		t.Fatalf("got %d jobs, next in %v, error %v; want none and the lease's end", len(res.Jobs), res.Next, err)
	}
	clock.add(res.Next)
	if res, err = e.Claim(t.Context(), req); err != nil || len(res.Jobs) != 3 {
		t.Errorf("got %d jobs, error %v; want the 3 whose lease has ended", len(res.Jobs), err)
	}
}
