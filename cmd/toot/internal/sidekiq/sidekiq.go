// Package sidekiq moves the jobs of the Ruby original out of a Sidekiq
// installation into an engine.
//
// A job is stored in the engine, in one step, as it is in Sidekiq: waiting, due
// again at its time with its tries counted, or dead. Only then is it removed
// from Sidekiq. When the import ends in between, at whatever moment, the job is
// in both, and an import that is run again within the engine's dedupe window
// recognises it there and removes it from Sidekiq.
package sidekiq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/watermarkchurch/toot-go/engine"
)

// Options are optional settings.
type Options struct {
	// Queues are the names of the queues to look into, without "queue:".
	// Default: all that Sidekiq knows.
	Queues []string
	// Subscriptions returns the names of the subscriptions that a channel
	// has in the new app: a received event is handled by each. Without any,
	// its jobs stay where they are.
	Subscriptions func(channel string) []string
	// DryRun only counts.
	DryRun bool
	// Progress, unless nil, is called now and then with the counts so far.
	Progress func(Counts)
}

// Counts tells what was moved, by where it was and what it is.
type Counts struct {
	Waiting, Scheduled, Retrying, Dead Count
	// Other are jobs that are not the original's, left where they are.
	Other int
	// Unsubscribed are jobs for channels without a subscription, and
	// Unreadable those of the original's that make no sense. They are left
	// where they are, too.
	Unsubscribed, Unreadable int
}

// Count is a number of jobs for each kind.
type Count struct {
	FanOut, Deliver, Handle int
}

func (c *Count) add(k engine.Kind) {
	switch k {
	case engine.FanOut:
		c.FanOut++
	case engine.Deliver:
		c.Deliver++
	case engine.Handle:
		c.Handle++
	}
}

// Total is the number of jobs of all kinds.
func (c Count) Total() int { return c.FanOut + c.Deliver + c.Handle }

// Seen is the number of all jobs that were looked at.
func (c Counts) Seen() int { return c.Moved() + c.Other + c.Unsubscribed + c.Unreadable }

// Moved is the number of all jobs that were moved.
func (c Counts) Moved() int {
	return c.Waiting.Total() + c.Scheduled.Total() + c.Retrying.Total() + c.Dead.Total()
}

// pageSize is how many jobs are looked at, and moved, at a time.
const pageSize = 500

// Import moves jobs. If that is interrupted, running it again finishes it: the
// engine knows what it has already, while a job is there and for the dedupe
// window after it was stored. Sidekiq's own processes must not run the jobs at
// the same time. A job that the engine can't take stays where it is.
func (s *Installation) Import(ctx context.Context, eng engine.Engine, opts Options) (Counts, error) {
	m := &mover{Installation: s, engine: eng, opts: opts}
	if err := m.run(ctx); err != nil {
		return m.counts, fmt.Errorf("sidekiq: %w", err)
	}
	return m.counts, nil
}

type mover struct {
	*Installation
	engine engine.Engine
	opts   Options
	counts Counts
}

func (m *mover) run(ctx context.Context) error {
	queues, err := m.queueNames(ctx, m.opts.Queues)
	if err != nil {
		return err
	}
	for _, q := range queues {
		if err := m.moveQueue(ctx, m.key("queue:"+q)); err != nil {
			return err
		}
	}
	for _, set := range []struct {
		key   string
		place place
		count *Count
	}{
		{"schedule", scheduled, &m.counts.Scheduled},
		{"retry", retrying, &m.counts.Retrying},
		{"dead", dead, &m.counts.Dead},
	} {
		if err := m.moveSet(ctx, m.key(set.key), set.place, set.count); err != nil {
			return err
		}
	}
	return nil
}

// place is where a job was.
type place int

const (
	waiting place = iota
	scheduled
	retrying
	dead
)

// entry is an element of a list or ZSET of Sidekiq's.
type entry struct {
	text  string
	index int     // of a list
	score float64 // of a ZSET: epoch seconds
	job   *job    // nil: stays where it is
	lanes []engine.Lane
}

// moveQueue goes through a list from its tail, which is its oldest end.
func (m *mover) moveQueue(ctx context.Context, key string) error {
	for kept := 0; ; {
		texts, err := m.Client.Do(ctx, m.Client.B().Lrange().Key(key).Start(int64(-kept-pageSize)).Stop(int64(-kept-1)).Build()).AsStrSlice()
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if len(texts) == 0 {
			return nil
		}
		var ours []entry
		for i, text := range slices.Backward(texts) {
			e := m.read(text)
			e.index = -kept - len(texts) + i
			if e.job != nil {
				ours = append(ours, e)
			}
		}
		ours, err = m.store(ctx, ours, waiting, 0, &m.counts.Waiting)
		if err != nil {
			return err
		}
		kept += len(texts)
		if !m.opts.DryRun && len(ours) > 0 {
			if err := m.removeFromList(ctx, key, ours); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			kept -= len(ours) // also if somebody else was first
		}
		m.progress()
	}
}

// removeScript removes elements of a list by place and content, the places
// counted from the end, in one pass. What is not in its place any more is
// looked for.
var removeScript = rueidis.NewLuaScript(`
local moved = 'toot:moved:' .. redis.sha1hex(ARGV[2])
local there, elsewhere = 0, {}
for i = 1, #ARGV, 2 do
  if redis.call('LINDEX', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    redis.call('LSET', KEYS[1], ARGV[i], moved)
    there = there + 1
  else
    elsewhere[#elsewhere + 1] = ARGV[i + 1]
  end
end
if there > 0 then
  redis.call('LREM', KEYS[1], -there, moved)
end
for _, text in ipairs(elsewhere) do
  redis.call('LREM', KEYS[1], -1, text)
end
return there`)

func (m *mover) removeFromList(ctx context.Context, key string, entries []entry) error {
	args := make([]string, 0, 2*len(entries))
	for _, e := range entries {
		args = append(args, strconv.Itoa(e.index), e.text)
	}
	return removeScript.Exec(ctx, m.Client, []string{key}, args).Error()
}

func (m *mover) moveSet(ctx context.Context, key string, p place, count *Count) error {
	now, err := m.now(ctx)
	if err != nil {
		return err
	}
	for kept := 0; ; {
		page, err := m.Client.Do(ctx, m.Client.B().Zrange().Key(key).Min(strconv.Itoa(kept)).Max(strconv.Itoa(kept+pageSize-1)).Withscores().Build()).AsZScores()
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		if len(page) == 0 {
			return nil
		}
		var ours []entry
		for _, z := range page {
			e := m.read(z.Member)
			e.score = z.Score
			if e.job != nil {
				ours = append(ours, e)
			}
		}
		ours, err = m.store(ctx, ours, p, now, count)
		if err != nil {
			return err
		}
		kept += len(page)
		if !m.opts.DryRun && len(ours) > 0 {
			members := make([]string, len(ours))
			for i, e := range ours {
				members[i] = e.text
			}
			if err := m.Client.Do(ctx, m.Client.B().Zrem().Key(key).Member(members...).Build()).Error(); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			kept -= len(ours) // also if somebody else was first
		}
		m.progress()
	}
}

// read looks at a job, and counts it if it stays where it is.
func (m *mover) read(text string) entry {
	e := entry{text: text}
	job, err := parseJob(text)
	switch {
	case errors.Is(err, errOther):
		m.counts.Other++
		return e
	case err != nil:
		m.counts.Unreadable++
		return e
	}
	switch job.kind {
	case engine.FanOut:
		e.lanes = []engine.Lane{{Kind: engine.FanOut, Name: job.event.Channel}}
	case engine.Deliver:
		e.lanes = []engine.Lane{{Kind: engine.Deliver, Name: job.url}}
	case engine.Handle:
		if m.opts.Subscriptions != nil {
			for _, name := range m.opts.Subscriptions(job.event.Channel) {
				e.lanes = append(e.lanes, engine.Lane{Kind: engine.Handle, Name: name})
			}
		}
		if len(e.lanes) == 0 {
			m.counts.Unsubscribed++
			return e
		}
	}
	e.job = job
	return e
}

// store puts jobs into the engine, as they were in their place, counts them and
// returns those that are there now. One that the engine can't take holds up no
// other.
func (m *mover) store(ctx context.Context, entries []entry, p place, now float64, count *Count) (stored []entry, err error) {
	var jobs []engine.Job
	for i := range entries {
		jobs = append(jobs, entries[i].jobs(p, now)...)
	}
	if !m.opts.DryRun && len(jobs) > 0 {
		_, err = m.engine.Push(ctx, engine.PushRequest{Jobs: jobs})
	}
	switch {
	case errors.Is(err, engine.ErrInvalid) && len(entries) > 1:
		for i := range entries {
			one, err := m.store(ctx, entries[i:i+1], p, now, count)
			if err != nil {
				return nil, err
			}
			stored = append(stored, one...)
		}
		return stored, nil
	case errors.Is(err, engine.ErrInvalid):
		m.counts.Unreadable++
		return nil, nil
	case err != nil:
		return nil, err
	}
	for i := range entries {
		count.add(entries[i].job.kind)
	}
	return entries, nil
}

// jobs are what an entry becomes in the engine. Each is stored in one step with
// all that Sidekiq knows of it, so that there is no moment at which one that
// was dead could run, or one that failed could forget how often.
func (e *entry) jobs(p place, now float64) []engine.Job {
	jobs := make([]engine.Job, len(e.lanes))
	for i, lane := range e.lanes {
		jobs[i] = engine.Job{Event: &e.job.event, Lane: lane}
		switch p {
		case waiting:
		case scheduled:
			jobs[i].Delay = until(e.score, now)
		case retrying, dead:
			jobs[i].Past = e.job.past(p == dead, until(e.score, now))
		}
	}
	return jobs
}

func until(score, now float64) time.Duration {
	return time.Duration(max(0, score-now) * float64(time.Second))
}

// now asks the server: scores are times of Sidekiq's machines, but those are
// hardly further off than this one.
func (m *mover) now(ctx context.Context) (float64, error) {
	parts, err := m.Client.Do(ctx, m.Client.B().Time().Build()).AsStrSlice()
	if err != nil {
		return 0, err
	}
	seconds, err1 := strconv.ParseFloat(parts[0], 64)
	micros, err2 := strconv.ParseFloat(parts[1], 64)
	return seconds + micros/1e6, cmp.Or(err1, err2)
}

func (m *mover) progress() {
	if m.opts.Progress != nil {
		m.opts.Progress(m.counts)
	}
}

var errOther = errors.New("not a job of the original")

// classes are the original's jobs.
var classes = map[string]engine.Kind{
	"Toot::PublishesEvent":     engine.FanOut,
	"Toot::CallsEventCallback": engine.Deliver,
	"Toot::CallsHandlers":      engine.Handle,
}

// mayBeOurs spares most other jobs from being parsed.
func mayBeOurs(text string) bool { return strings.Contains(text, "Toot::") }
