package redisengine

import (
	"context"
	"strconv"

	"github.com/watermarkchurch/toot-go/engine"
)

// Push stores jobs, as engine.Engine says. It is atomic for all the jobs of
// one event; a large call is made in several steps.
func (e *Engine) Push(ctx context.Context, jobs []engine.Job) ([]engine.Ticket, error) {
	if err := e.calls.enter(); err != nil {
		return nil, err
	}
	defer e.calls.calls.Done()
	for i := range jobs {
		if err := validJob(&jobs[i], false); err != nil {
			return nil, err
		}
	}
	tickets := make([]engine.Ticket, len(jobs))
	batches := make([][]*batch, len(e.shards))
	var keys arena
	groups := byEvent(jobs)
	for i, g := range groups {
		key := jobKey(&keys, g.event.ID)
		n := shardOf(key, len(e.shards))
		bs := batches[n]
		if len(bs) == 0 || bs[len(bs)-1].full(key, len(g.jobs), packedSize(g.event)) {
			bs = append(bs, newBatch(e.shards[n], (len(groups)-i)/len(e.shards)+1))
			batches[n] = bs
		}
		bs[len(bs)-1].add(batchEvent{key: key, event: g.event}, g.jobs, g.at)
	}
	err := onShards(e.shards, func(s *shard) error {
		for _, b := range batches[s.number] {
			err := e.push(ctx, b, func(_, at int, t engine.Ticket) { tickets[at] = t })
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var waiting wakeups
	for i := range jobs {
		waiting.add(&jobs[i])
	}
	e.wake(waiting)
	return tickets, nil
}

func (e *Engine) push(ctx context.Context, b *batch, put func(event, at int, t engine.Ticket)) error {
	buffer := takeArgs()
	defer buffer.giveBack()
	args := buffer.args
	args = append(args, e.watch.channel, e.watch.sender, e.window)
	args = append(args, strconv.FormatInt(b.stamp, 10))
	args = b.lanes.appendArgs(args)
	args = b.appendArgs(args, false)
	buffer.args = args
	answer, err := e.exec(ctx, b.shard, pushScript, b.lanes.keys(b.shard), args)
	if err != nil {
		return err
	}
	r := parse(answer, 4)
	now, fresh, leases, told := r.int(0), r.string(1), r.list(2), r.string(3)
	if r.err != nil {
		return r.err
	}
	b.shard.setTime(now)
	e.wakeTold(told)
	return b.tickets(now, fresh, leases, put)
}

// group is the jobs of one event and their places.
type group struct {
	event *engine.Event
	jobs  []engine.Job
	at    []int
}

// byEvent puts together the jobs that share an event.
func byEvent(jobs []engine.Job) []group {
	groups := make([]group, 0, len(jobs))
	of := make(map[*engine.Event]int, len(jobs))
	places := make([]int, len(jobs))
	for i := range jobs {
		places[i] = i
		ev := jobs[i].Event
		if n := len(groups); n > 0 && groups[n-1].event == ev && groups[n-1].at[len(groups[n-1].at)-1] == i-1 {
			// The usual case: they stand together, and need no copying.
			g := &groups[n-1]
			if from := i - len(g.jobs); g.at[0] == from {
				g.jobs, g.at = jobs[from:i+1], places[from:i+1]
				continue
			}
		}
		n, ok := of[ev]
		if !ok {
			of[ev] = len(groups)
			groups = append(groups, group{ev, jobs[i : i+1 : i+1], places[i : i+1 : i+1]})
			continue
		}
		g := &groups[n]
		g.jobs = append(g.jobs[:len(g.jobs):len(g.jobs)], jobs[i])
		g.at = append(g.at[:len(g.at):len(g.at)], i)
	}
	return groups
}

func validJob(j *engine.Job, follow bool) error {
	switch {
	case j.Event == nil && !follow:
		return invalid("a job without an event")
	case j.Event != nil && j.Event.ID == "":
		return invalid("an event without an ID")
	case !validLane(j.Lane):
		return invalid("a job in the lane %q of kind %d", j.Lane.Name, j.Lane.Kind)
	}
	return nil
}

// wakeups are the kinds of which something became due.
type wakeups [4]bool

func (w *wakeups) add(j *engine.Job) {
	if j.Lease <= 0 && j.Delay <= 0 {
		w[j.Lane.Kind] = true
	}
}

func (w *wakeups) addTold(told string) {
	for i := range len(told) {
		if n, err := strconv.Atoi(told[i : i+1]); err == nil && n < len(w) {
			w[n] = true
		}
	}
}
