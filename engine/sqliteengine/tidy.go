package sqliteengine

import (
	"fmt"
	"time"
)

// What has an end (registrations, attributes, what is remembered for a while)
// is no longer seen from then on, whether or not its row is there. The rows are
// deleted by and by.

const (
	// tidyEvery is how often they are looked for, and tidyLimit how many of a
	// table a transaction deletes; the next one goes on.
	tidyEvery = time.Minute
	tidyLimit = 200
	// tidyUnasked is how often they are looked for without knowing of any:
	// other processes write some, and die.
	tidyUnasked = time.Hour
)

// tidying is what the writer knows of rows with an end.
type tidying struct {
	last int64 // when they were last looked for
	next int64 // when to do it again
}

// ending are the tables with rows that end, and their keys.
var ending = [...][2]string{{"subscribers", "channel, url"}, {"attributes", "grp, name"}, {"memory", "key"}}

// end is when something ends that is kept for d from now; 0, for never, if d is
// not positive.
func (w *writer) end(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	until := w.now + micros(d)
	w.tidying.next = min(w.tidying.next, max(until, w.tidying.last+tidyEvery.Microseconds()))
	return until
}

// tidy deletes rows that have ended, if it is time to.
func (w *writer) tidy() error {
	if w.now < w.tidying.next {
		return nil
	}
	next, more := w.now+tidyUnasked.Microseconds(), false
	for _, t := range ending {
		n, err := w.c.run(fmt.Sprintf(`DELETE FROM %[1]s WHERE until > 0 AND (%[2]s) IN
			(SELECT %[2]s FROM %[1]s WHERE until > 0 AND until <= ?1 ORDER BY until LIMIT ?2)`, t[0], t[1]), w.now, tidyLimit)
		if err != nil {
			return err
		}
		more = more || n == tidyLimit
		q, ok, err := w.c.query("SELECT min(until) FROM " + t[0] + " WHERE until > 0")
		if err != nil {
			return err
		}
		if first := q.int(0); ok && first > 0 {
			next = min(next, first)
		}
		q.reset()
	}
	w.tidying = tidying{last: w.now, next: max(next, w.now+tidyEvery.Microseconds())}
	if more {
		w.tidying.next = w.now
	}
	return nil
}
