package sqliteengine

import (
	"context"
	"fmt"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// forgetAtOnce is how many rows a call deletes whose time is over: more than
// it adds, so that they do not pile up.
const forgetAtOnce = 20

// Remember implements engine.Memory.
func (e *Engine) Remember(ctx context.Context, key string, value []byte, d time.Duration) (kept []byte, err error) {
	if key == "" || len(value) == 0 || d <= 0 {
		return nil, fmt.Errorf("%w: to remember takes a key, a value and a time", engine.ErrInvalid)
	}
	err = e.do(ctx, "remember", &op{run: func(w *writer) error {
		if _, err := w.c.run(`DELETE FROM memory WHERE key IN (SELECT key FROM memory WHERE until <= ?1 ORDER BY until LIMIT ?2)`, w.now, forgetAtOnce); err != nil {
			return err
		}
		q, ok, err := w.c.query("SELECT value FROM memory WHERE key = ?1 AND until > ?2", key, w.now)
		if err != nil {
			return err
		}
		if ok {
			kept = q.bytes(0)
			q.reset()
			return nil
		}
		kept = value
		_, err = w.c.run("INSERT OR REPLACE INTO memory (key, value, until) VALUES (?1, ?2, ?3)", key, value, w.now+max(d.Microseconds(), 1))
		return err
	}})
	if err != nil {
		return nil, err
	}
	return kept, nil
}
