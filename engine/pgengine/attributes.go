package pgengine

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/watermarkchurch/toot-go/engine"
)

// Attribute implements engine.Attributes.
func (e *Engine) Attribute(ctx context.Context, group, name string) (a engine.Attribute, err error) {
	if err := engine.ValidateAttribute(group, name); err != nil {
		return a, err
	}
	err = e.try(ctx, "attribute", again, func(ctx context.Context) error {
		now, _, err := e.storeTime(ctx, e.pool)
		if err != nil {
			return err
		}
		var value []byte
		var written, until int64
		err = e.pool.QueryRow(ctx, e.sql(`SELECT value, written, until FROM toot.attributes WHERE grp = $1 AND name = $2 AND (until = 0 OR until > $3)`),
			e.mode, []byte(group), []byte(name), now).Scan(&value, &written, &until)
		a = engine.Attribute{}
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		a = attributeOf(value, written, until, now)
		return err
	})
	return a, err
}

func attributeOf(value []byte, written, until, now int64) engine.Attribute {
	a := engine.Attribute{Value: value, Age: since(written, now)}
	if until > 0 {
		a.Left = max(time.Microsecond, since(now, until))
	}
	return a
}

// Attributes implements engine.Attributes.
func (e *Engine) Attributes(ctx context.Context, group string) (all map[string]engine.Attribute, err error) {
	if err := engine.ValidateGroup(group); err != nil {
		return nil, err
	}
	err = e.try(ctx, "attributes", again, func(ctx context.Context) error {
		all = map[string]engine.Attribute{}
		now, _, err := e.storeTime(ctx, e.pool)
		if err != nil {
			return err
		}
		rows, err := e.pool.Query(ctx, e.sql(`SELECT name, value, written, until FROM toot.attributes WHERE grp = $1 AND (until = 0 OR until > $2)`), e.mode, []byte(group), now)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var name, value []byte
			var written, until int64
			if err := rows.Scan(&name, &value, &written, &until); err != nil {
				return err
			}
			all[string(name)] = attributeOf(value, written, until, now)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// SwapAttribute implements engine.Attributes.
func (e *Engine) SwapAttribute(ctx context.Context, group, name string, old, value []byte, keep time.Duration) (swapped bool, err error) {
	if err := engine.ValidateAttribute(group, name); err != nil {
		return false, err
	}
	g, n := []byte(group), []byte(name)
	err = e.try(ctx, "swap attribute", once, func(ctx context.Context) error {
		now, _, err := e.storeTime(ctx, e.pool)
		if err != nil {
			return errBefore{err}
		}
		until := end(now, keep)
		if len(old) == 0 && len(value) == 0 {
			return e.pool.QueryRow(ctx, e.sql(`SELECT NOT EXISTS (SELECT 1 FROM toot.attributes WHERE grp = $1 AND name = $2 AND (until = 0 OR until > $3))`), e.mode, g, n, now).Scan(&swapped)
		}
		sql, args := `UPDATE toot.attributes SET value = $5, written = $4, until = $6 WHERE grp = $1 AND name = $2 AND value = $3 AND (until = 0 OR until > $4)`,
			[]any{e.mode, g, n, old, now, value, until}
		switch {
		case len(old) == 0:
			sql, args = `INSERT INTO toot.attributes AS a (grp, name, value, written, until) VALUES ($1, $2, $4, $3, $5)
				ON CONFLICT (grp, name) DO UPDATE SET value = $4, written = $3, until = $5 WHERE a.until > 0 AND a.until <= $3`,
				[]any{e.mode, g, n, now, value, until}
		case len(value) == 0:
			sql, args = `DELETE FROM toot.attributes WHERE grp = $1 AND name = $2 AND value = $3 AND (until = 0 OR until > $4)`,
				[]any{e.mode, g, n, old, now}
		}
		tag, err := e.pool.Exec(ctx, e.sql(sql), args...)
		swapped = tag.RowsAffected() == 1
		return err
	})
	return swapped && err == nil, err
}
