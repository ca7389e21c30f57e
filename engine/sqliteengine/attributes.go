package sqliteengine

import (
	"bytes"
	"context"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// Attribute implements engine.Attributes.
func (e *Engine) Attribute(ctx context.Context, group, name string) (a engine.Attribute, err error) {
	if err := engine.ValidateAttribute(group, name); err != nil {
		return a, err
	}
	err = e.read(ctx, "attribute", func(c *conn) error {
		now := e.clock.now()
		q, ok, err := c.query(`SELECT value, written, until FROM attributes
			WHERE grp = ?1 AND name = ?2 AND (until = 0 OR until > ?3)`, group, name, now)
		if err == nil && ok {
			a = attributeOf(q, 0, now)
			q.reset()
		}
		return err
	})
	return a, err
}

// Attributes implements engine.Attributes.
func (e *Engine) Attributes(ctx context.Context, group string) (map[string]engine.Attribute, error) {
	if err := engine.ValidateGroup(group); err != nil {
		return nil, err
	}
	var all map[string]engine.Attribute
	err := e.read(ctx, "attributes", func(c *conn) error {
		all = map[string]engine.Attribute{}
		now := e.clock.now()
		q, ok, err := c.query(`SELECT name, value, written, until FROM attributes
			WHERE grp = ?1 AND (until = 0 OR until > ?2)`, group, now)
		for ; ok && err == nil; ok, err = q.step() {
			all[q.text(0)] = attributeOf(q, 1, now)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// attributeOf reads a value, when it was written and when it ends.
func attributeOf(q *stmt, col int, now int64) engine.Attribute {
	a := engine.Attribute{Value: q.bytes(col), Age: since(q.int(col+1), now)}
	if until := q.int(col + 2); until > 0 {
		a.Left = time.Duration(until-now) * time.Microsecond
	}
	return a
}

// SwapAttribute implements engine.Attributes.
func (e *Engine) SwapAttribute(ctx context.Context, group, name string, old, value []byte, keep time.Duration) (swapped bool, err error) {
	if err := engine.ValidateAttribute(group, name); err != nil {
		return false, err
	}
	err = e.do(ctx, "swap attribute", &op{run: func(w *writer) error {
		var was []byte
		q, ok, err := w.c.query("SELECT value FROM attributes WHERE grp = ?1 AND name = ?2 AND (until = 0 OR until > ?3)", group, name, w.now)
		if err != nil {
			return err
		}
		if ok {
			was = q.bytes(0)
			q.reset()
		}
		if swapped = bytes.Equal(was, old); !swapped {
			return nil
		}
		if len(value) == 0 {
			_, err = w.c.run("DELETE FROM attributes WHERE grp = ?1 AND name = ?2", group, name)
		} else {
			_, err = w.c.run("INSERT OR REPLACE INTO attributes (grp, name, value, written, until) VALUES (?1, ?2, ?3, ?4, ?5)",
				group, name, value, w.now, w.end(keep))
		}
		return err
	}})
	return swapped && err == nil, err
}
