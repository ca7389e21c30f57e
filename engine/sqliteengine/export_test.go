package sqliteengine

import (
	"context"
	"sync/atomic"
	"time"
)

// WallTime is the wall clock of a machine that tests can set.
type WallTime struct{ ahead atomic.Int64 }

// Set moves it.
func (w *WallTime) Set(by time.Duration) { w.ahead.Add(int64(by)) }

// Use has an engine go by it.
func (w *WallTime) Use(o *Options) {
	start := time.Now()
	o.Time = func() (wall time.Time, mono time.Duration) {
		now := time.Now()
		return now.Add(time.Duration(w.ahead.Load())), now.Sub(start)
	}
}

// Path is the engine's file.
func (e *Engine) Path() string { return e.path }

// BreakChannel makes the subscribers of a channel unreadable, and of all
// channels unchangeable.
func (e *Engine) BreakChannel(channel string) error {
	return e.do(context.Background(), "break", &op{run: func(w *writer) error {
		if err := w.c.exec("DROP VIEW meta; ALTER TABLE subscribers RENAME TO registrations"); err != nil {
			return err
		}
		return w.c.exec(`CREATE VIEW subscribers AS SELECT channel, added, until,
			iif(channel = '` + channel + `', json_extract(url, '$'), url) AS url FROM registrations`)
	}})
}
