package redisengine

import (
	"strconv"

	"github.com/watermarkchurch/toot-go/engine"
)

// Jobs with a past (engine.Job.Past) are rare: they come when somebody moves
// from another queue. A batch that has some is stored by a script of its own.

// hasPast tells whether some job of a batch has a past.
func (b *batch) hasPast() bool {
	for i := range b.jobs {
		if b.jobs[i].past != nil {
			return true
		}
	}
	return false
}

// appendPastHead appends what lua/past.lua wants before the jobs.
func (e *Engine) appendPastHead(args []string) []string {
	return append(args, e.watch.channel, e.watch.sender, defaultDedupe, e.deadMax(), defaultDeadAge)
}

// appendPast appends what it wants to know of those with a past behind the jobs.
func (b *batch) appendPast(args []string) []string {
	count := len(args)
	args = append(args, "")
	n, place := 0, 0
	for _, r := range b.runs {
		for _, j := range r.jobs {
			place++
			if j.past == nil {
				continue
			}
			n++
			ev, lane := &b.events[j.event], b.lanes.lanes[r.lane]
			args = append(args,
				strconv.Itoa(place), strconv.Itoa(r.lane), laneCode(lane), ev.key, variantKey(ev.key, ev.content),
				flag(j.past.Result != engine.Release), strconv.Itoa(j.past.Attempt), micros(j.age), string(j.past.History), b.letter(ev, lane, &j))
		}
	}
	args[count] = strconv.Itoa(n)
	return args
}

// letter is the record of a dead letter behind its event key; empty for a job
// that is to be tried again.
func (b *batch) letter(ev *batchEvent, lane engine.Lane, j *runJob) string {
	past := j.past
	if past.Result != engine.Bury {
		return ""
	}
	d := deadRecord{
		key: ev.key, lane: lane, channel: ev.event.Channel, stamp: b.stamp - j.age.Microseconds(),
		attempt: past.Attempt, reason: past.Reason, history: string(past.History),
	}
	return d.pack()[1:] // behind the length of an event key that is empty
}
