package sqliteengine

import "github.com/watermarkchurch/toot-go/engine"

// lane is what the writer remembers of a row of lanes: within a transaction
// exactly what the row holds, or will hold once flushLanes has written it.
type lane struct {
	id       int64
	key      engine.Lane
	next     int64
	deferred int64
	dirty    bool
	run      *jobRun // the rows being collected for it, see insertJobs
}

func (l *lane) wake() int64 { return max(l.next, l.deferred) }

// laneCache holds lanes by name and by ID.
type laneCache struct {
	byName map[engine.Lane]*lane
	byID   map[int64]*lane
	dirty  []*lane
	last   *lane // the one asked for before
}

// maxLanes is how many lanes are remembered.
const maxLanes = 16 << 10

func (c *laneCache) reset() {
	*c = laneCache{byName: map[engine.Lane]*lane{}, byID: map[int64]*lane{}}
}

// bound forgets all lanes once they are too many. Not while some are dirty.
func (c *laneCache) bound() {
	if len(c.byID) > maxLanes {
		c.reset()
	}
}

func (c *laneCache) add(l *lane) *lane {
	c.byName[l.key], c.byID[l.id] = l, l
	return l
}

// findLane returns a lane, nil if there is none of that name.
func (w *writer) findLane(key engine.Lane) (*lane, error) {
	if l := w.lanes.last; l != nil && l.key == key {
		return l, nil
	}
	if l := w.lanes.byName[key]; l != nil {
		w.lanes.last = l
		return l, nil
	}
	s, ok, err := w.c.query("SELECT id, next, deferred FROM lanes WHERE kind = ?1 AND name = ?2", int64(key.Kind), key.Name)
	if err != nil || !ok {
		return nil, err
	}
	l := &lane{id: s.int(0), key: key, next: s.int(1), deferred: s.int(2)}
	s.reset()
	return w.lanes.add(l), nil
}

// makeLane returns a lane, a new one if there is none of that name.
func (w *writer) makeLane(key engine.Lane) (*lane, error) {
	l, err := w.findLane(key)
	if l != nil || err != nil {
		return l, err
	}
	_, err = w.c.run("INSERT INTO lanes (kind, name, next, deferred, wake, idle) VALUES (?1, ?2, ?3, 0, ?3, ?4)",
		int64(key.Kind), key.Name, int64(never), w.now)
	if err != nil {
		return nil, err
	}
	return w.lanes.add(&lane{id: w.c.lastID(), key: key, next: never}), nil
}

// laneByID returns a lane that has jobs, nil if there is none.
func (w *writer) laneByID(id int64) (*lane, error) {
	if l := w.lanes.byID[id]; l != nil {
		return l, nil
	}
	s, ok, err := w.c.query("SELECT kind, name, next, deferred FROM lanes WHERE id = ?1", id)
	if err != nil || !ok {
		return nil, err
	}
	l := &lane{id: id, key: engine.Lane{Kind: s.kind(0), Name: s.text(1)}, next: s.int(2), deferred: s.int(3)}
	s.reset()
	return w.lanes.add(l), nil
}

// setLane changes what a lane's row will hold.
func (w *writer) setLane(l *lane, next, deferred int64) {
	if l.next == next && l.deferred == deferred {
		return
	}
	l.next, l.deferred = next, deferred
	if !l.dirty {
		l.dirty = true
		w.lanes.dirty = append(w.lanes.dirty, l)
	}
}

// dueAt notes that a lane has a job that is due then, and hints if that is
// now and the job is free.
func (w *writer) dueAt(l *lane, due int64, free bool) {
	if due < l.next {
		w.setLane(l, due, l.deferred)
	}
	if free && due <= w.now && l.deferred <= w.now {
		w.hinted |= kindOf(l.key.Kind)
	}
}

// flushLanes writes the rows that have changed.
func (w *writer) flushLanes() error {
	for _, l := range w.lanes.dirty {
		l.dirty = false
		_, err := w.c.run(`UPDATE lanes SET next = ?2, deferred = ?3, wake = ?4, idle = iif(?2 = ?6, ?5, idle) WHERE id = ?1`,
			l.id, l.next, l.deferred, l.wake(), w.now, int64(never))
		if err != nil {
			return err
		}
	}
	w.lanes.dirty = w.lanes.dirty[:0]
	return nil
}

// firstDue is when the lane's first job is due, never without jobs.
func (w *writer) firstDue(id int64) (int64, error) {
	s, ok, err := w.c.query("SELECT due FROM jobs WHERE lane = ?1 ORDER BY due, seq LIMIT 1", id)
	if err != nil || !ok {
		return never, err
	}
	due := s.int(0)
	s.reset()
	return due, nil
}
