package redisengine

import (
	"crypto/sha1" //nolint:gosec // see variantKey
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"github.com/watermarkchurch/toot-go/engine"
)

// A call of a script is cut off here, so that it keeps the server busy for no
// more than a few milliseconds. What has to be atomic is not cut.
const (
	batchJobs  = 500
	batchLanes = 200
	batchBytes = 1 << 20
)

// batch is what one script call stores: jobs of a Push, or those that follow
// outcomes. No job key comes twice in a batch.
type batch struct {
	shard   *shard
	stamp   int64 // what the contents of the events say
	lanes   laneTable
	classes []class
	events  []batchEvent
	has     map[string]bool // job keys
	runs    []run
	njobs   int
	bytes   int
}

func newBatch(s *shard) *batch { return &batch{shard: s, stamp: s.serverTime()} }

// class is what jobs have in common that wait or are leased for as long.
type class struct{ delay, lease string }

type batchEvent struct {
	key     string // job key
	event   *engine.Event
	stored  string // event key of one that is in the store, else empty
	owner   int    // outcome that it follows
	content string // empty if it is in the store
	jobs    []batchJob
}

type batchJob struct {
	lane, class int
	at          int // place in the results
}

// laneTable numbers the lanes of a script call.
type laneTable struct {
	number map[engine.Lane]int
	lanes  []engine.Lane
}

func (t *laneTable) add(l engine.Lane) int {
	if n := len(t.lanes); n > 0 && t.lanes[n-1] == l {
		return n - 1 // often the same as the one before
	}
	n, ok := t.number[l]
	if !ok {
		if t.number == nil {
			t.number = make(map[engine.Lane]int)
		}
		n = len(t.lanes)
		t.number[l] = n
		t.lanes = append(t.lanes, l)
	}
	return n
}

func (t *laneTable) keys(s *shard) []string {
	keys := make([]string, len(t.lanes))
	for i, l := range t.lanes {
		keys[i] = s.laneKey(l)
	}
	return keys
}

func (t *laneTable) appendArgs(args []string) []string {
	args = append(args, strconv.Itoa(len(t.lanes)))
	for _, l := range t.lanes {
		args = append(args, strconv.Itoa(int(l.Kind)), l.Name, laneCode(l))
	}
	return args
}

func (b *batch) class(j *engine.Job) int {
	var c class
	switch {
	case j.Lease > 0:
		c = class{"0", span(j.Lease)}
	case j.Delay > 0:
		c = class{micros(j.Delay), "0"}
	default:
		c = class{"0", "0"}
	}
	for i := len(b.classes) - 1; i >= 0; i-- {
		if b.classes[i] == c {
			return i
		}
	}
	b.classes = append(b.classes, c)
	return len(b.classes) - 1
}

// add adds an event with its jobs. Of a lane that comes twice the first counts.
func (b *batch) add(ev batchEvent, jobs []engine.Job, at []int) {
	if b.has == nil {
		b.has = make(map[string]bool)
	}
	b.has[ev.key] = true
	if ev.stored == "" {
		ev.content = packEvent(ev.event, b.stamp)
	}
	var lanes map[int]bool
	if len(jobs) > 1 {
		lanes = make(map[int]bool, len(jobs))
	}
	ev.jobs = make([]batchJob, 0, len(jobs))
	for i := range jobs {
		lane := b.lanes.add(jobs[i].Lane)
		if lanes[lane] {
			continue
		}
		if lanes != nil {
			lanes[lane] = true
		}
		ev.jobs = append(ev.jobs, batchJob{lane, b.class(&jobs[i]), at[i]})
	}
	b.events = append(b.events, ev)
	b.njobs += len(ev.jobs)
	b.bytes += len(ev.content)
}

// full tells whether an event had better go into another batch.
func (b *batch) full(key string, jobs, bytes int) bool {
	return b.has[key] || b.njobs > 0 && (b.njobs+jobs > batchJobs || len(b.lanes.lanes) >= batchLanes || b.bytes+bytes > batchBytes)
}

// appendArgs appends the arguments of store in lua/store.lua behind the lanes.
func (b *batch) appendArgs(args []string, follow bool) []string {
	args = append(args, strconv.Itoa(len(b.classes)))
	for _, c := range b.classes {
		args = append(args, c.delay, c.lease)
	}
	b.makeRuns()
	single := len(b.runs) == 1 && b.njobs == len(b.events) // then runs[0] has them in order
	broad := b.broad()
	if broad {
		args = append(args, strconv.Itoa(-1-(len(b.lanes.lanes)-b.njobs)), "-1")
	} else {
		args = append(args, strconv.Itoa(len(b.runs)))
		for _, r := range b.runs {
			args = append(args, strconv.Itoa(r.lane), strconv.Itoa(r.class), strconv.Itoa(len(r.jobs)))
		}
		if single {
			args = append(args, "-1")
		} else {
			args = append(args, strconv.Itoa(b.njobs))
			for _, r := range b.runs {
				for _, j := range r.jobs {
					args = append(args, b.events[j.event].key)
				}
			}
		}
	}
	args = append(args, strconv.Itoa(len(b.events)))
	several := 0
	for i := range b.events {
		ev := &b.events[i]
		args = append(args, ev.key, ev.content)
		if len(ev.jobs) > 1 {
			several++
		}
	}
	args = append(args, strconv.Itoa(several))
	if several > 0 {
		args = b.appendSeveral(args)
	}
	if follow {
		for i := range b.events {
			args = append(args, strconv.Itoa(b.events[i].owner))
		}
		for i := range b.events {
			args = append(args, b.events[i].stored)
		}
	}
	return args
}

// appendSeveral appends what is to be said of events with several jobs.
func (b *batch) appendSeveral(args []string) []string {
	for i := range b.events {
		if ev := &b.events[i]; len(ev.jobs) > 1 {
			args = append(args, ev.key, strconv.Itoa(len(ev.jobs)))
		}
	}
	codes := make([]string, len(b.lanes.lanes))
	for i, l := range b.lanes.lanes {
		codes[i] = laneCode(l)
	}
	for i := range b.events {
		if ev := &b.events[i]; len(ev.jobs) > 1 {
			args = append(args, ev.key, ev.codes(codes))
		}
	}
	return args
}

// broad tells whether there is one event with a job in each lane from some on,
// all of one class: a fan-out to many, whose arguments are worth saving.
func (b *batch) broad() bool {
	if len(b.events) != 1 || len(b.classes) != 1 || len(b.runs) != b.njobs {
		return false
	}
	for i, r := range b.runs {
		if r.lane != len(b.lanes.lanes)-b.njobs+i {
			return false
		}
	}
	return true
}

// codes strings together the codes of an event's lanes.
func (ev *batchEvent) codes(codes []string) string {
	var all strings.Builder
	for _, j := range ev.jobs {
		all.WriteString(codes[j.lane])
	}
	return all.String()
}

// run is the jobs of one lane and class. The server stores them in one step.
type run struct {
	lane, class int
	jobs        []runJob
}

type runJob struct{ event, at int }

func (b *batch) makeRuns() {
	type place struct{ lane, class int }
	number := make(map[place]int)
	last, lastPlace := -1, place{}
	for i := range b.events {
		for _, j := range b.events[i].jobs {
			p := place{j.lane, j.class}
			if last < 0 || p != lastPlace {
				n, ok := number[p]
				if !ok {
					n = len(b.runs)
					number[p] = n
					b.runs = append(b.runs, run{lane: j.lane, class: j.class})
				}
				last, lastPlace = n, p
			}
			b.runs[last].jobs = append(b.runs[last].jobs, runJob{i, j.at})
		}
	}
}

// variantKey is the event key of an event whose ID is that of another one.
// lua/store.lua has the same rule.
func variantKey(key, content string) string {
	sum := sha1.Sum([]byte(content[stampSize:])) //nolint:gosec // the server has no other hash
	return key + hex.EncodeToString(sum[:])[:16]
}

// tickets makes the tickets of the jobs that were stored under a lease.
func (b *batch) tickets(now int64, fresh string, leases []rueidis.RedisMessage, put func(event, at int, t engine.Ticket)) error {
	scores := make([]uint64, len(leases))
	for i := range leases {
		text, err := leases[i].ToString()
		if err != nil {
			return errForeign
		}
		if text != "" {
			if scores[i], err = strconv.ParseUint(text, 10, 64); err != nil {
				return errForeign
			}
		}
	}
	if fresh != "" && len(fresh) != b.njobs || len(scores) != len(b.classes) {
		return errForeign
	}
	n := -1
	for _, r := range b.runs {
		for _, j := range r.jobs {
			n++
			isNew := byte('1')
			if fresh != "" {
				isNew = fresh[n]
			}
			score := scores[r.class]
			if isNew == '0' || score == 0 {
				continue
			}
			ev := &b.events[j.event]
			c := claim{
				shard: b.shard.number, lane: b.lanes.lanes[r.lane], key: ev.key, event: ev.key,
				score: score, stamp: now, claims: 1, channel: ev.event.Channel,
			}
			if isNew == '2' { // its event is not under the job key
				c.event, c.hasRecord = ev.stored, true
				if c.event == "" {
					c.event = variantKey(ev.key, ev.content)
				}
			}
			put(j.event, j.at, c.ticket())
		}
	}
	return nil
}
