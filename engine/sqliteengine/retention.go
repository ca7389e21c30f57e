package sqliteengine

import (
	"context"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// How long the file remembers is kept in it, in a table that files of this
// version may be without: a program that does not know it goes by its own.
const retentionTable = `CREATE TABLE IF NOT EXISTS retention (
	id INTEGER PRIMARY KEY CHECK (id = 1),
	dedupe INTEGER NOT NULL, dead_age INTEGER NOT NULL, -- microseconds
	dead_max INTEGER NOT NULL
)`

// readRetention returns what is in force.
func readRetention(c *conn) (engine.Retention, error) {
	var kept engine.Retention
	q, ok, err := c.query("SELECT dedupe, dead_age, dead_max FROM retention")
	if err != nil {
		return kept, err
	}
	if ok {
		kept.Dedupe = time.Duration(q.int(0)) * time.Microsecond
		kept.DeadAge = time.Duration(q.int(1)) * time.Microsecond
		kept.DeadMax = int(q.int(2))
		q.reset()
	}
	return kept.WithDefaults(), nil
}

// Retention implements engine.Retainer.
func (e *Engine) Retention(ctx context.Context) (kept engine.Retention, err error) {
	err = e.read(ctx, "retention", func(c *conn) error {
		var err error
		kept, err = readRetention(c)
		return err
	})
	return kept, err
}

// retain writes what the engine was opened with into the file, once.
func (e *Engine) retain(ctx context.Context) error {
	if e.retained.Load() || e.wanted == (engine.Retention{}) {
		return nil
	}
	err := e.do(ctx, "retention", &op{anyway: true, run: func(w *writer) error {
		r := w.retention.With(e.wanted)
		if r == w.retention {
			return nil
		}
		w.retention = r
		_, err := w.c.run("INSERT OR REPLACE INTO retention VALUES (1, ?1, ?2, ?3)", micros(r.Dedupe), micros(r.DeadAge), r.DeadMax)
		return err
	}})
	if err == nil {
		e.retained.Store(true)
	}
	return err
}
