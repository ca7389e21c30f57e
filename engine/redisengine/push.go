package redisengine

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/watermarkchurch/toot-go/engine"
)

// Push stores jobs, as engine.Engine says. It is atomic for all the jobs of
// one event; a large call is made in several steps.
func (e *Engine) Push(ctx context.Context, req engine.PushRequest) (engine.PushResult, error) {
	if err := e.calls.enter(); err != nil {
		return engine.PushResult{}, err
	}
	defer e.calls.calls.Done()
	if err := req.Validate(); err != nil {
		return engine.PushResult{}, err
	}
	result := engine.PushResult{Tickets: make([]engine.Ticket, len(req.Jobs))}
	batches := e.planPush(req.Jobs)
	var asking sync.WaitGroup
	if len(req.Channels) > 0 {
		result.Audiences = make([]engine.Audience, len(req.Channels))
		e.ask(ctx, &req, batches, result.Audiences, &asking)
	}
	var stored atomic.Bool // something of it
	err := onShards(e.shards, func(s *shard) error {
		for _, b := range batches[s.number] {
			if err := e.push(ctx, b, result.Tickets); err != nil {
				return err
			}
			stored.Store(true)
		}
		return nil
	})
	asking.Wait()
	for i := range result.Audiences {
		if ctx.Err() != nil && result.Audiences[i].Err != nil {
			err = result.Audiences[i].Err // it has ended for the whole call
		}
	}
	if err != nil {
		return engine.PushResult{}, mark(stored.Load(), err)
	}
	var waiting wakeups
	for i := range req.Jobs {
		waiting.add(&req.Jobs[i])
	}
	e.wake(waiting)
	return result, nil
}

// planPush puts the jobs into batches, by shard.
func (e *Engine) planPush(jobs []engine.Job) [][]*batch {
	batches := make([][]*batch, len(e.shards))
	var keys arena
	groups := byEvent(jobs)
	for i, g := range groups {
		s := e.shards[shardOf(g.event.ID, len(e.shards))]
		key := s.jobKey(&keys, identityOf(g.event))
		bs := batches[s.number]
		if len(bs) == 0 || bs[len(bs)-1].full(key, len(g.jobs), packedSize(g.event)) {
			bs = append(bs, newBatch(s, (len(groups)-i)/len(e.shards)+1))
			batches[s.number] = bs
		}
		bs[len(bs)-1].add(batchEvent{key: key, event: g.event}, g.jobs, g.at)
	}
	return batches
}

func (e *Engine) push(ctx context.Context, b *batch, tickets []engine.Ticket) error {
	buffer := takeArgs()
	defer buffer.giveBack()
	args, script, keys := reserve(buffer.args), pushScript, b.lanes.keys(b.shard)
	past := b.hasPast()
	if past {
		script = pastScript
		args = e.appendPastHead(args)
	} else {
		args = append(args, e.watch.channel, e.watch.sender, defaultDedupe, strconv.Itoa(len(b.asked)), b.most)
	}
	args = append(args, strconv.FormatInt(b.stamp, 10))
	args = b.lanes.appendArgs(args)
	args = b.appendArgs(args, false)
	if past {
		args = b.appendPast(args)
	}
	buffer.args = args
	for _, channel := range b.asked {
		channelKeys := e.channels.of(channel)
		keys = append(keys, channelKeys[:]...)
	}
	r, err := e.exec(ctx, b.shard, script, keys, args)
	if err != nil {
		return err
	}
	fresh, leases, base, told, audiences := r.string(1), r.list(2), r.int(3), r.string(4), r.list(5)
	if r.err != nil {
		return r.err
	}
	if len(audiences) != len(b.asked) {
		return errForeign
	}
	for i := range audiences {
		b.audiences[i] = readAudience(&audiences[i])
	}
	e.wakeTold(told)
	if past && len(e.queues) > 1 {
		if err := e.trimDead(ctx); err != nil {
			return err
		}
	}
	return b.tickets(r.now, base, fresh, leases, func(_, at int, t engine.Ticket) { tickets[at] = t })
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

// wakeups are the kinds of which something became due.
type wakeups [4]bool

func (w *wakeups) add(j *engine.Job) {
	switch {
	case j.Past != nil:
		w[j.Lane.Kind] = w[j.Lane.Kind] || j.Past.Result != engine.Bury && j.Past.After <= 0
	case j.Lease <= 0 && j.Delay <= 0:
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
