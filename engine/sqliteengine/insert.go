package sqliteengine

import (
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/internal/identity"
)

// jobBatch is what a Push or the follow-ups of a Settle add. The caller's
// goroutine builds it; the writer fills in the rest.
type jobBatch struct {
	jobs   []newJob
	events []newEvent
	byPtr  map[*engine.Event]int
	out    tickets
}

type newJob struct {
	event   int // index in events
	outcome int // index of the outcome it follows; -1 for Push
	job     *engine.Job

	fresh bool
	lane  *lane
}

// newEvent is an event that jobs of a batch refer to: a new one, or that of a
// settled job (event is nil), which has a row already.
type newEvent struct {
	event *engine.Event
	id    identity.Identity

	seq    int64
	fresh  int // how many jobs refer to it that were not there already
	shared bool
}

// addJob adds a job. event is the index of its event, -1 for the job's own.
func (b *jobBatch) addJob(e *Engine, j *engine.Job, outcome, event int) {
	if event < 0 {
		event = b.addEvent(e, j.Event)
	}
	b.jobs = append(b.jobs, newJob{event: event, outcome: outcome, job: j})
}

func (b *jobBatch) addEvent(e *Engine, event *engine.Event) int {
	if n := len(b.events); n > 0 && b.events[n-1].event == event {
		return n - 1
	}
	if i, ok := b.byPtr[event]; ok {
		return i
	}
	if b.byPtr == nil {
		b.byPtr = make(map[*engine.Event]int, cap(b.jobs))
	}
	i := len(b.events)
	b.byPtr[event] = i
	b.events = append(b.events, newEvent{event: event, id: e.identify(event)})
	return i
}

// micros is d in microseconds, rounded up, and not negative.
func micros(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64((d-1)/time.Microsecond) + 1
}

// jobRow is what rows of jobs have in common that are written together.
type jobRow struct {
	lane            int64
	due             int64
	token           int64
	claims, attempt int64
	shared          bool
	pushed          int64
}

// jobRun is a run of rows that differ in nothing but an ascending seq. Only a
// run of one has a history.
type jobRun struct {
	jobRow
	seq, rows int64
	history   []byte
}

// takes adds a row to the run if it continues it.
func (r *jobRun) takes(row *jobRow, seq int64, history []byte) bool {
	if r.jobRow != *row || r.seq+r.rows != seq || r.history != nil || history != nil || r.rows == bulk {
		return false
	}
	r.rows++
	return true
}

// findFresh records the jobs of a batch in seen and finds out which of them
// are new. wanted leaves out those whose outcome did not take effect.
func (w *writer) findFresh(b *jobBatch, wanted func(outcome int) bool) error {
	for i := range b.events {
		b.events[i].fresh = 0
	}
	for i := range b.jobs {
		j := &b.jobs[i]
		if j.fresh = wanted(j.outcome); !j.fresh {
			continue
		}
		l, err := w.makeLane(j.job.Lane)
		if err != nil {
			return err
		}
		j.lane = l
		b.events[j.event].fresh++
	}
	if err := w.leaveOutOld(b); err != nil {
		return err
	}
	return w.rememberAll(len(b.jobs),
		func(i int) (*identity.Identity, int64, bool) {
			j := &b.jobs[i]
			if !j.fresh {
				return nil, 0, false
			}
			return &b.events[j.event].id, j.lane.id, true
		},
		func(i int) {
			b.jobs[i].fresh = false
			b.events[b.jobs[i].event].fresh--
		})
}

// insertEvents stores the events that are new and have a new job.
func (w *writer) insertEvents(b *jobBatch) error {
	insert, err := w.c.stmt("INSERT INTO events (seq, id, channel, meta, body) VALUES (?1, ?2, ?3, ?4, ?5)")
	if err != nil {
		return err
	}
	if w.nextSeq == 0 {
		if w.nextSeq, err = w.lastSeq(); err != nil {
			return err
		}
		w.nextSeq++
	}
	for i := range b.events {
		e := &b.events[i]
		if e.event == nil || e.fresh == 0 {
			continue
		}
		e.seq = w.nextSeq
		e.shared = e.fresh > 1
		w.nextSeq++
		if err := insert.bindEvent(e.seq, e.event); err != nil {
			return err
		}
		if err := insert.run(); err != nil {
			return err
		}
		if e.event.Replay == "" {
			continue // as nearly all: a column more in each row costs more
		}
		if _, err := w.c.run("UPDATE events SET replay = ?2 WHERE seq = ?1", e.seq, e.event.Replay); err != nil {
			return err
		}
	}
	return w.insertRefs(b)
}

// bindEvent binds an event's row, save the replay mark, without boxing its fields.
func (s *stmt) bindEvent(seq int64, e *engine.Event) error {
	if err := s.bindInt(0, seq); err != nil {
		return err
	}
	if err := s.bindText(1, e.ID); err != nil {
		return err
	}
	if err := s.bindText(2, e.Channel); err != nil {
		return err
	}
	if err := s.bindBlob(3, e.Meta); err != nil {
		return err
	}
	return s.bindBlob(4, e.Body)
}

func (w *writer) lastSeq() (int64, error) {
	s, ok, err := w.c.query("SELECT max(seq) FROM events")
	if err != nil || !ok {
		return 0, err
	}
	defer s.reset()
	return s.int(0), nil
}

// insertRefs counts the jobs of the new events that have several.
func (w *writer) insertRefs(b *jobBatch) error {
	var first, n int64
	fresh := 0
	flush := func() error {
		if n == 0 {
			return nil
		}
		_, err := w.c.run("INSERT INTO refs (seq, n) SELECT ?1 + i, ?2 FROM nums WHERE i < ?3", first, fresh, n)
		n = 0
		return err
	}
	for i := range b.events {
		e := &b.events[i]
		if e.event == nil || e.fresh < 2 {
			continue
		}
		if n > 0 && (e.seq != first+n || e.fresh != fresh || n == bulk) {
			if err := flush(); err != nil {
				return err
			}
		}
		if n == 0 {
			first, fresh = e.seq, e.fresh
		}
		n++
	}
	return flush()
}

// insertJobs stores the jobs that are new, in runs, and writes the tickets of
// those that come with a lease, or with a past (see settlePasts).
func (w *writer) insertJobs(b *jobBatch) error {
	b.out.reset(len(b.jobs))
	var open []*lane // those with a run
	for i := range b.jobs {
		j := &b.jobs[i]
		if !j.fresh {
			b.out.none()
			continue
		}
		e := &b.events[j.event]
		due, token := w.now+micros(j.job.Delay), int64(0)
		if j.job.Lease > 0 || j.job.Past != nil {
			due, token = w.now+micros(j.job.Lease), w.token
			b.out.add(&ticket{lane: j.lane.id, due: due, seq: e.seq, token: token, was: w.now, shared: e.shared, id: e.id})
		} else {
			b.out.none()
		}
		w.dueAt(j.lane, due, token == 0)
		w.counts.add(j.lane.id, 1)
		row := jobRow{lane: j.lane.id, due: due, token: token, claims: min(token, 1), shared: e.shared, pushed: w.now - micros(j.job.PushedAgo())}
		if past := j.job.Past; past != nil && past.Result == engine.Release {
			row.claims = 0
		}
		r := j.lane.run
		switch {
		case r == nil:
			r = &jobRun{}
			j.lane.run = r
			open = append(open, j.lane)
		case r.takes(&row, e.seq, nil):
			continue
		default:
			if err := w.insertRun(r); err != nil {
				return err
			}
		}
		*r = jobRun{jobRow: row, seq: e.seq, rows: 1}
	}
	for _, l := range open {
		if err := w.insertRun(l.run); err != nil {
			return err
		}
		l.run = nil
	}
	return nil
}

func (w *writer) insertRun(r *jobRun) error {
	shared := 0
	if r.shared {
		shared = 1
	}
	_, err := w.c.run(`INSERT INTO jobs (lane, due, seq, token, claims, attempt, shared, pushed, history)
		SELECT ?1, ?2, ?3 + i, ?4, ?5, ?6, ?7, ?8, ?9 FROM nums WHERE i < ?10`,
		r.lane, r.due, r.seq, r.token, r.claims, r.attempt, shared, r.pushed, r.history, r.rows)
	return err
}
