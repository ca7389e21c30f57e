package redisengine

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/watermarkchurch/toot-go/engine"
)

// settleArgs writes the arguments of lua/settle.lua, behind the retention.
type settleArgs struct {
	outcomes []engine.Outcome

	args        []string
	order       []*settling // as the server sees them
	buries      bool
	onlyExtends bool
}

func (w *settleArgs) write(s *settlement) {
	w.args = append(w.args, flag(len(s.events) > 0))
	w.args = s.lanes.appendArgs(w.args)
	w.writeGroups(s)
	plain := true
	for _, c := range w.order {
		plain = plain && w.outcomes[c.at].Result == engine.Done && !c.hasRecord && c.event == c.key
	}
	w.args = append(w.args, strconv.Itoa(s.n), flag(plain))
	for _, c := range w.order {
		w.args = append(w.args, c.key)
	}
	w.args = appendScores(w.args, w.order)
	if !plain {
		w.writeOperations()
	}
	if len(s.events) > 0 {
		w.writeFollow(s)
	}
}

func (w *settleArgs) writeGroups(s *settlement) {
	w.order = make([]*settling, 0, s.n)
	groups, place := 0, len(w.args)
	w.args = append(w.args, "")
	for lane, group := range s.byLane {
		if len(group) == 0 {
			continue
		}
		groups++
		w.args = append(w.args, strconv.Itoa(lane), strconv.Itoa(len(group)))
		slices.SortStableFunc(group, func(a, b settling) int { return cmp.Compare(a.score, b.score) })
		for i := range group {
			w.order = append(w.order, &group[i])
		}
	}
	w.args[place] = strconv.Itoa(groups)
}

// What an operation says beside the result.
const (
	recordOp  = 8
	eventOp   = 16
	historyOp = 32
)

func (w *settleArgs) writeOperations() {
	var further []string
	w.onlyExtends = true
	for _, c := range w.order {
		o := &w.outcomes[c.at]
		op := int(o.Result)
		if c.hasRecord {
			op |= recordOp
		}
		if c.event != c.key {
			op |= eventOp
			further = append(further, c.event)
		}
		w.onlyExtends = w.onlyExtends && o.Result == engine.Extend
		switch o.Result {
		case engine.Retry:
			further = append(further, micros(o.After), c.record(c.claims, o.Attempt, string(o.History)))
		case engine.Release:
			r := "" // the server changes the one that it has
			if !c.hasRecord {
				r = c.record(c.claims.released(), 0, "")
			}
			further = append(further, span(o.After), strconv.FormatInt(c.due, 10), r)
		case engine.Extend:
			further = append(further, micros(o.After), strconv.Itoa(c.claims.turn()))
			switch {
			case o.History == nil:
			case c.hasRecord:
				op |= historyOp
				further = append(further, string(o.History))
			default:
				op |= historyOp
				further = append(further, c.record(c.claims, 0, string(o.History)))
			}
		case engine.Bury:
			w.buries = true
			further = append(further, c.deadRecord(o))
		}
		w.args = append(w.args, strconv.Itoa(op))
	}
	w.args = append(w.args, further...)
}

// writeFollow writes the follow-up jobs. The lanes are given again, since
// lua/store.lua reads them.
func (w *settleArgs) writeFollow(s *settlement) {
	place := make(map[int]int, len(s.events)) // of an outcome in order, from 1
	for i, c := range w.order {
		place[c.at] = i + 1
	}
	for i := range s.events {
		s.events[i].owner = place[s.events[i].owner]
	}
	w.args = append(w.args, strconv.FormatInt(s.stamp, 10))
	w.args = s.lanes.appendArgs(w.args)
	w.args = s.appendArgs(w.args, true)
}

// appendScores appends the scores. Jobs that were claimed together have the same.
func appendScores(args []string, order []*settling) []string {
	rows := 0
	for i, c := range order {
		if i == 0 || c.score != order[i-1].score {
			rows++
		}
	}
	if 2*rows >= len(order) {
		args = append(args, strconv.Itoa(len(order)))
		for _, c := range order {
			args = append(args, strconv.FormatUint(c.score, 10))
		}
		return args
	}
	args = append(args, strconv.Itoa(rows))
	for i := 0; i < len(order); {
		from, score := i, order[i].score
		for i < len(order) && order[i].score == score {
			i++
		}
		args = append(args, strconv.FormatUint(score, 10), strconv.Itoa(i-from))
	}
	return args
}

func (c *claim) record(claims tally, attempt int, history string) string {
	r := record{claims: claims, attempt: attempt, stamp: c.stamp, history: history}
	if c.event != c.key {
		r.event = c.event
	}
	return r.pack()
}

func (c *claim) deadRecord(o *engine.Outcome) string {
	d := deadRecord{
		event: c.event, key: c.key, lane: c.lane, channel: c.channel, stamp: c.stamp,
		attempt: o.Attempt, reason: o.Reason, history: string(o.History),
	}
	return d.pack()
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}
