package pgengine

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/internal/identity"
)

// newJob is a job that a Push or the follow-ups of a Settle add.
type newJob struct {
	job   *engine.Job
	event *newEvent
	lane  int64
	wait  int64 // how long it is not due when it is stored
	due   int64 // known once it is stored
	seq   int64
	token int64 // 0: not leased
	key   []byte

	fresh bool // it was not there already
	at    pgtype.TID
}

// claims is how often the job counts as claimed when it is stored.
func (j *newJob) claims() int64 {
	if j.token == 0 || j.job.Past != nil && j.job.Past.Result == engine.Release {
		return 0
	}
	return 1
}

// newEvent is an event of a call, or that of a settled job (event is nil).
type newEvent struct {
	event *engine.Event
	id    identity.Identity

	jobs int   // how many jobs of the call are about it
	seq  int64 // in events; 0 while it lies in the row of its one job
	from int   // the outcome whose job's event it is; -1: none
}

// newJobs are all of a call.
type newJobs struct {
	jobs   []newJob
	events map[*engine.Event]*newEvent
	lanes  *laneIDs
}

// addEvent returns what is known of an event.
func (n *newJobs) addEvent(e *Engine, event *engine.Event) *newEvent {
	if last := len(n.jobs) - 1; last >= 0 && n.jobs[last].event.event == event {
		return n.jobs[last].event
	}
	if known := n.events[event]; known != nil {
		return known
	}
	if n.events == nil {
		n.events = make(map[*engine.Event]*newEvent, cap(n.jobs))
	}
	ev := &newEvent{event: event, id: identity.Of(&e.salt, event.Channel, event.ID, event.Replay), from: -1}
	n.events[event] = ev
	return ev
}

func (n *newJobs) add(j *engine.Job, ev *newEvent) {
	ev.jobs++
	n.jobs = append(n.jobs, newJob{job: j, event: ev})
}

// prepare gives the jobs their numbers.
func (n *newJobs) prepare(ctx context.Context, e *Engine) error {
	first, err := e.take(ctx, len(n.jobs)+1)
	if err != nil {
		return err
	}
	token := first + int64(len(n.jobs))
	for i := range n.jobs {
		j := &n.jobs[i]
		j.seq = first + int64(i)
		if j.job.Lease > 0 || j.job.Past != nil {
			j.token, j.wait = token, micros(j.job.Lease)
		} else {
			j.wait = micros(j.job.Delay)
		}
	}
	return nil
}

// place finds the lanes of the jobs. It is not done in the transaction that stores
// them: a lane that is made is remembered, and stays.
func (n *newJobs) place(ctx context.Context, e *Engine) error {
	var err error
	if n.lanes, err = e.laneIDs(ctx); err != nil {
		return err
	}
	wanted, ids := make([]engine.Lane, len(n.jobs)), make([]int64, len(n.jobs))
	for i := range n.jobs {
		wanted[i] = n.jobs[i].job.Lane
	}
	if err := n.lanes.find(ctx, e, wanted, ids); err != nil {
		return err
	}
	for i := range n.jobs {
		n.jobs[i].lane = ids[i]
	}
	return nil
}

// makeKeys makes the keys under which the jobs are remembered.
func (n *newJobs) makeKeys() {
	buf := make([]byte, 0, len(n.jobs)*20)
	for i := range n.jobs {
		j := &n.jobs[i]
		start := len(buf)
		buf = identity.AppendKey(buf, &j.event.id, j.lane)
		j.key = buf[start:len(buf):len(buf)]
	}
}

// share gives the events that several of the jobs are about a row of their own.
func (n *newJobs) share(ctx context.Context, e *Engine) error {
	for _, ev := range n.events {
		if ev.jobs > 1 && ev.seq == 0 {
			seq, err := e.take(ctx, 1)
			if err != nil {
				return err
			}
			ev.seq = seq
		}
	}
	return nil
}

// kinds are those of jobs that anybody may claim now.
func (n *newJobs) kinds() (k kinds) {
	for i := range n.jobs {
		if j := &n.jobs[i]; j.fresh && j.token == 0 && j.job.Delay <= 0 {
			k |= kindOf(j.job.Lane.Kind)
		}
	}
	return k
}

// columns are jobs as the statements take them, a slice for each column.
type columns struct {
	lanes, waits, seqs, tokens, events []int64
	ages, claims                       []int64 // see insert
	keys, ids, channels, replays       [][]byte
	metas, bodies                      [][]byte

	// The events with a row of their own.
	own struct {
		seqs                   []int64
		ids, channels, replays [][]byte
		metas, bodies          [][]byte
	}
	// The lanes, and the earliest due time in each, or after how long that is.
	low      []int64
	earliest []int64
}

func (c *columns) add(j *newJob) {
	c.lanes, c.waits, c.seqs, c.tokens = append(c.lanes, j.lane), append(c.waits, j.wait), append(c.seqs, j.seq), append(c.tokens, j.token)
	c.keys, c.events = append(c.keys, j.key), append(c.events, j.event.seq)
	c.ages, c.claims = append(c.ages, micros(j.job.PushedAgo())), append(c.claims, j.claims())
	var ev engine.Event
	if j.event.seq == 0 {
		ev = *j.event.event
		c.ids, c.channels, c.replays = append(c.ids, []byte(ev.ID)), append(c.channels, []byte(ev.Channel)), append(c.replays, orNull(ev.Replay))
		c.metas, c.bodies = append(c.metas, orNil(ev.Meta)), append(c.bodies, ev.Body)
	} else {
		c.ids, c.channels, c.replays = append(c.ids, nil), append(c.channels, nil), append(c.replays, nil)
		c.metas, c.bodies = append(c.metas, nil), append(c.bodies, nil)
	}
	c.lower(j.lane, j.wait)
}

// lower notes that a lane gets a job that is due then, or after that time.
func (c *columns) lower(lane, due int64) {
	for i := len(c.low) - 1; i >= 0 && i >= len(c.low)-8; i-- {
		if c.low[i] == lane {
			c.earliest[i] = min(c.earliest[i], due)
			return
		}
	}
	c.low, c.earliest = append(c.low, lane), append(c.earliest, due)
}

func (c *columns) addOwn(seq int64, ev *engine.Event) {
	o := &c.own
	o.seqs, o.ids, o.channels, o.replays = append(o.seqs, seq), append(o.ids, []byte(ev.ID)), append(o.channels, []byte(ev.Channel)), append(o.replays, orNull(ev.Replay))
	o.metas, o.bodies = append(o.metas, orNil(ev.Meta)), append(o.bodies, ev.Body)
}

func orNull(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}

func orNil(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}

// lowerFloors is what a statement that stores jobs does to lanes.next, for which it
// is given the lanes, and how long after a time the earliest job in each is due: see
// floor.go. It goes in order, so that two statements never wait for each other.
func lowerFloors(lanes, waits, time, from string) string {
	return strings.NewReplacer("$LANES", lanes, "$WAITS", waits, "$TIME", time, "$FROM", from).Replace(`UPDATE toot.lanes l SET next = LEAST(l.next, x.due)
	FROM (SELECT o.id, $TIME + t.wait AS due FROM $FROM unnest($LANES::bigint[], $WAITS::bigint[]) AS t(id, wait) JOIN toot.lanes o ON o.id = t.id
		WHERE o.next > $TIME + t.wait ORDER BY o.id FOR NO KEY UPDATE OF o) x
	WHERE l.id = x.id AND l.next > x.due`)
}

// lowerAlone is lowerFloors as a statement of its own.
var lowerAlone = lowerFloors("$1", "$2", "$3::bigint", "")

// insert stores jobs in a transaction, and the events that they share.
func (c *columns) insert(ctx context.Context, e *Engine, tx querier, now int64) (at []pgtype.TID, err error) {
	if o := &c.own; len(o.seqs) > 0 {
		_, err := tx.Exec(ctx, e.sql(`INSERT INTO toot.events (seq, id, channel, replay, meta, body)
			SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bytea[])`),
			e.mode, o.seqs, o.ids, o.channels, o.replays, o.metas, o.bodies)
		if err != nil {
			return nil, err
		}
	}
	if len(c.seqs) == 0 {
		return nil, nil
	}
	err = tx.QueryRow(ctx, e.sql(`WITH j AS (INSERT INTO toot.jobs (lane, due, seq, token, claims, attempt, pushed, event, id, channel, replay, meta, body)
			SELECT t.lane, $1 + t.wait, t.seq, t.token, t.claims, 0, $1 - t.age, t.event, t.id, t.channel, t.replay, t.meta, t.body
			FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bytea[], $8::bytea[], $9::bytea[], $10::bytea[], $11::bytea[], $12::bigint[], $13::bigint[])
				AS t(lane, wait, seq, token, event, id, channel, replay, meta, body, age, claims) RETURNING ctid, lane),
			n AS (`+noteCounts("j", "+")+`)
		SELECT array_agg(ctid) FROM j`),
		e.mode, now, c.lanes, c.waits, c.seqs, c.tokens, c.events, c.ids, c.channels, c.replays, c.metas, c.bodies, c.ages, c.claims).Scan(&at)
	if err != nil {
		return nil, err
	}
	return at, c.lowerIn(ctx, e, tx, now)
}

func (c *columns) lowerIn(ctx context.Context, e *Engine, tx querier, after int64) error {
	if len(c.low) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, e.sql(lowerAlone), e.mode, c.low, c.earliest, after)
	return err
}
