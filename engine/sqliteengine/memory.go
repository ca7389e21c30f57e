package sqliteengine

import (
	"context"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// Remember implements engine.Memory.
func (e *Engine) Remember(ctx context.Context, key string, value []byte, d time.Duration) (kept []byte, err error) {
	if err := engine.ValidateMemory(key, value, d); err != nil {
		return nil, err
	}
	err = e.do(ctx, "remember", &op{run: func(w *writer) error {
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
		_, err = w.c.run("INSERT OR REPLACE INTO memory (key, value, until) VALUES (?1, ?2, ?3)", key, value, w.end(d))
		return err
	}})
	if err != nil {
		return nil, err
	}
	return kept, nil
}
