package sqliteengine

import "time"

// A process that starts while others have the file open cannot tell a jump of
// wall time from a time in which nothing was written. The others can. So it
// has them tell: it writes something, which they notice, and one whose clock
// has gone on since clock_at, or that has seen a jump, makes a transaction,
// which has the right clock in the row.
//
// Nobody need answer: the others may be of an older version, may be no toot, or
// may stand still.

const (
	// answerWithin is for how long a process waits for an answer, and
	// answerPoll how often it looks for it.
	answerWithin = 2 * time.Second
	answerPoll   = 5 * time.Millisecond
)

// awaitTime returns once the row of the clock agrees with wall time, as it does
// when one of the others has answered, or when nobody has for long enough.
func (w *writer) awaitTime() error {
	for deadline := time.Now().Add(answerWithin); ; time.Sleep(answerPoll) {
		row, err := readClock(w.c)
		if err != nil || w.e.clock.agreesWith(row) || time.Now().After(deadline) {
			return err
		}
		if w.owner == 0 {
			if err := w.ask(); err != nil {
				return err
			}
		}
	}
}

// ask writes what this process has to write anyway: that it is there.
func (w *writer) ask() error {
	err := w.c.exec("BEGIN IMMEDIATE")
	if err == nil {
		err = w.register()
	}
	if err == nil {
		err = w.c.commit()
	}
	if err != nil {
		w.rollback()
	}
	return err
}

// asked reports whether others may be waiting for what this process knows of
// the time.
func (w *writer) asked() bool {
	if w.listen {
		row, err := readClock(w.c)
		if err != nil {
			return false // the next look reads it again
		}
		w.listen, w.answer = false, !w.e.clock.shows(row.at)
	}
	return w.answer
}

// answered notes that a transaction has told the time.
func (w *writer) answered() { w.listen, w.answer = false, false }

func readClock(c *conn) (row clockRow, err error) {
	q, ok, err := c.query("SELECT clock_offset, clock_jumps, clock_at FROM state")
	if err == nil && ok {
		row = clockRow{offset: q.int(0), jumps: q.int(1), at: q.int(2)}
		q.reset()
	}
	return row, err
}
