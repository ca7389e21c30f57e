package redisengine

import (
	"crypto/sha1" //nolint:gosec // see variantKey
	"encoding/hex"
	"strconv"
	"strings"
	"time"

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
	arena   arena // of keys and contents
	lanes   laneTable
	classes []class
	events  []batchEvent
	jobs    []batchJob
	has     map[string]bool // job keys
	runs    []run
	bytes   int

	// Channels that the same call is asked about, see ask.
	asked     []string
	audiences []engine.Audience
	most      string
}

// newBatch makes a batch for about so many events.
func newBatch(s *shard, events int) *batch {
	events = min(events, batchJobs)
	return &batch{
		shard: s, stamp: s.clock.now(),
		events: make([]batchEvent, 0, events), jobs: make([]batchJob, 0, events), has: make(map[string]bool, events),
	}
}

// class is what jobs have in common that wait or are leased for as long.
type class struct{ delay, lease time.Duration }

type batchEvent struct {
	key     string // job key
	event   *engine.Event
	stored  string // event key of one that is in the store, else empty
	owner   int    // outcome that it follows
	content string // empty if it is in the store
	first   int    // of its jobs among those of the batch
	n       int    // how many they are
}

type batchJob struct {
	lane, class int
	at          int // place in the results
	past        *engine.Outcome
	age         time.Duration // with a past
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
	case j.Past != nil:
		if j.Past.Result != engine.Bury {
			c.delay = max(bounded(j.Past.After).Truncate(time.Microsecond), 0)
		}
	case j.Lease > 0:
		c.lease = max(j.Lease.Truncate(time.Microsecond), time.Microsecond)
	case j.Delay > 0:
		c.delay = j.Delay.Truncate(time.Microsecond)
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
	b.has[ev.key] = true
	if ev.stored == "" {
		ev.content = packEvent(&b.arena, ev.event, b.stamp)
	}
	var lanes map[int]bool
	if len(jobs) > 1 {
		lanes = make(map[int]bool, len(jobs))
	}
	ev.first = len(b.jobs)
	for i := range jobs {
		lane := b.lanes.add(jobs[i].Lane)
		if lanes[lane] {
			continue
		}
		if lanes != nil {
			lanes[lane] = true
		}
		b.jobs = append(b.jobs, batchJob{lane, b.class(&jobs[i]), at[i], jobs[i].Past, jobs[i].PushedAgo()})
		if past := jobs[i].Past; past != nil {
			b.bytes += len(past.History) + len(past.Reason)
		}
	}
	ev.n = len(b.jobs) - ev.first
	b.events = append(b.events, ev)
	b.bytes += len(ev.content)
}

func (b *batch) jobsOf(ev *batchEvent) []batchJob { return b.jobs[ev.first : ev.first+ev.n] }

// full tells whether an event had better go into another batch.
func (b *batch) full(key string, jobs, bytes int) bool {
	return b.has[key] || len(b.jobs) > 0 && (len(b.jobs)+jobs > batchJobs || len(b.lanes.lanes) >= batchLanes || b.bytes+bytes > batchBytes)
}

// appendArgs appends the arguments of store in lua/store.lua behind the lanes.
func (b *batch) appendArgs(args []string, follow bool) []string {
	args = append(args, strconv.Itoa(len(b.classes)))
	for _, c := range b.classes {
		args = append(args, micros(c.delay), micros(c.lease))
	}
	b.makeRuns()
	single := len(b.runs) == 1 && len(b.jobs) == len(b.events) // then runs[0] has them in order
	broad := b.broad()
	if broad {
		args = append(args, strconv.Itoa(-1-(len(b.lanes.lanes)-len(b.jobs))), "-1")
	} else {
		args = append(args, strconv.Itoa(len(b.runs)))
		for _, r := range b.runs {
			args = append(args, strconv.Itoa(r.lane), strconv.Itoa(r.class), strconv.Itoa(len(r.jobs)))
		}
		if single {
			args = append(args, "-1")
		} else {
			args = append(args, strconv.Itoa(len(b.jobs)))
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
		if ev.n > 1 {
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
	return b.appendFormer(args)
}

// appendFormer appends under which keys the queue of format 1 may know the
// events, where there is one.
func (b *batch) appendFormer(args []string) []string {
	if b.shard.twin == nil {
		return append(args, "")
	}
	args = append(args, b.shard.twin.prefix)
	for i := range b.events {
		key := ""
		if ev := &b.events[i]; ev.stored == "" && ev.event.Replay == "" {
			key = idKey(&b.arena, ev.event.ID)
		}
		args = append(args, key)
	}
	return args
}

// appendSeveral appends what is to be said of events with several jobs.
func (b *batch) appendSeveral(args []string) []string {
	for i := range b.events {
		if ev := &b.events[i]; ev.n > 1 {
			args = append(args, ev.key, strconv.Itoa(ev.n))
		}
	}
	codes := make([]string, len(b.lanes.lanes))
	for i, l := range b.lanes.lanes {
		codes[i] = laneCode(l)
	}
	for i := range b.events {
		if ev := &b.events[i]; ev.n > 1 {
			args = append(args, ev.key, b.codes(ev, codes))
		}
	}
	return args
}

// broad tells whether there is one event with a job in each lane from some on,
// all of one class: a fan-out to many, whose arguments are worth saving.
func (b *batch) broad() bool {
	if len(b.events) != 1 || len(b.classes) != 1 || len(b.runs) != len(b.jobs) {
		return false
	}
	for i, r := range b.runs {
		if r.lane != len(b.lanes.lanes)-len(b.jobs)+i {
			return false
		}
	}
	return true
}

// codes strings together the codes of an event's lanes.
func (b *batch) codes(ev *batchEvent, codes []string) string {
	var all strings.Builder
	for _, j := range b.jobsOf(ev) {
		all.WriteString(codes[j.lane])
	}
	return all.String()
}

// run is the jobs of one lane and class. The server stores them in one step.
type run struct {
	lane, class int
	jobs        []runJob
}

type runJob struct {
	event, at int
	past      *engine.Outcome
	age       time.Duration // with a past
}

func (b *batch) makeRuns() {
	type place struct{ lane, class int }
	number := make(map[place]int)
	last, lastPlace := -1, place{}
	for i := range b.events {
		for _, j := range b.jobsOf(&b.events[i]) {
			p := place{j.lane, j.class}
			if last < 0 || p != lastPlace {
				n, ok := number[p]
				if !ok {
					n = len(b.runs)
					number[p] = n
					b.runs = append(b.runs, run{lane: j.lane, class: j.class})
					if n == 0 && len(b.lanes.lanes) == 1 {
						b.runs[0].jobs = make([]runJob, 0, len(b.jobs))
					}
				}
				last, lastPlace = n, p
			}
			b.runs[last].jobs = append(b.runs[last].jobs, runJob{i, j.at, j.past, j.age})
		}
	}
}

// variantKey is the event key of an event whose ID is that of another one.
// lua/store.lua has the same rule.
func variantKey(key, content string) string {
	sum := sha1.Sum([]byte(content[stampSize:])) //nolint:gosec // the server has no other hash
	return key + hex.EncodeToString(sum[:])[:16]
}

// tickets makes the tickets of the jobs that were stored under a lease. base is
// the time stamp before that of the first job.
func (b *batch) tickets(now, base int64, fresh string, leases []rueidis.RedisMessage, put func(event, at int, t engine.Ticket)) error {
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
	if fresh != "" && len(fresh) != len(b.jobs) || len(scores) != len(b.classes) {
		return errForeign
	}
	var strings arena // not the other one: tickets are kept
	n := -1
	for _, r := range b.runs {
		for _, j := range r.jobs {
			n++
			base++
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
				score: score, stamp: now, due: base, claims: 1, channel: ev.event.Channel,
			}
			if isNew == '2' { // its event is not under the job key
				c.event, c.hasRecord = ev.stored, true
				if c.event == "" {
					c.event = variantKey(ev.key, ev.content)
				}
			}
			put(j.event, j.at, c.ticket(&strings))
		}
	}
	return nil
}
