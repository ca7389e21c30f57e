package outbox

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// asideSuffix is what the name of the table has appended that holds what was set
// aside.
const asideSuffix = "_aside"

// SetAside is an event that can't be published: it is too large for the app, for
// example, or the engine does not take its channel. It holds up nobody, and stays
// until it is put back or discarded.
type SetAside struct {
	N       int64 // tells it from others, and ascends
	ID      string
	Channel string // full name
	Body    []byte // the event as it was to go over the wire
	Reason  string
	At      time.Time // when it was set aside, by the database's clock
}

// maxReason bounds the text that is kept of an error, in bytes.
const maxReason = 2000

func (o *Outbox) setAside(ctx context.Context, tx *sql.Tx, r refusal) error {
	reason := r.reason.Error()
	reason = reason[:min(len(reason), maxReason)]
	query, args := o.dialect.Statement("INSERT INTO "+o.opts.Table+asideSuffix+" ("+columns+", aside_ms, reason) SELECT "+columns+", "+
		o.dialect.NowMillis()+", ? FROM "+o.opts.Table+" WHERE n = ?", []byte(reason), r.n)
	if _, err := tx.ExecContext(ctx, query, args...); err != nil {
		return fmt.Errorf("can't set an event aside: %w", err)
	}
	return nil
}

// ListSetAside returns up to max of the events that were set aside, in the order in
// which that happened, beginning after one of a given N, 0 for the first.
func (o *Outbox) ListSetAside(ctx context.Context, after int64, max int) ([]SetAside, error) {
	query, args := o.dialect.Statement("SELECT n, id, channel, body, reason, aside_ms FROM "+o.opts.Table+asideSuffix+
		" WHERE n > ? ORDER BY n LIMIT ?", after, max)
	rows, err := o.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("outbox: can't list what was set aside: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var list []SetAside
	for rows.Next() {
		var a SetAside
		var id, channel, reason []byte
		var at int64
		if err := rows.Scan(&a.N, &id, &channel, &a.Body, &reason, &at); err != nil {
			return nil, fmt.Errorf("outbox: can't list what was set aside: %w", err)
		}
		a.ID, a.Channel, a.Reason, a.At = string(id), string(channel), string(reason), time.UnixMilli(at)
		list = append(list, a)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("outbox: can't list what was set aside: %w", err)
	}
	return list, nil
}

// PutBack puts events that were set aside back into the outbox, by their N, as when
// the app's limits have been raised. It returns how many there were.
func (o *Outbox) PutBack(ctx context.Context, ns ...int64) (int, error) {
	return o.endAside(ctx, ns, true)
}

// Discard deletes events that were set aside, by their N. It returns how many
// there were.
func (o *Outbox) Discard(ctx context.Context, ns ...int64) (int, error) {
	return o.endAside(ctx, ns, false)
}

func (o *Outbox) endAside(ctx context.Context, ns []int64, putBack bool) (int, error) {
	if len(ns) == 0 {
		return 0, nil
	}
	tx, err := o.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, fmt.Errorf("outbox: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	aside := o.opts.Table + asideSuffix
	condition, args := o.dialect.OneOf("n", ns)
	exec := func(text string) (n int64, err error) {
		query, args := o.dialect.Statement(text, args...)
		result, err := tx.ExecContext(ctx, query, args...)
		if err != nil {
			return 0, fmt.Errorf("outbox: events that were set aside: %w", err)
		}
		return result.RowsAffected()
	}
	if putBack {
		if o.dialect.Locks() { // so that nobody else puts them back, too
			if _, err := exec("SELECT n FROM " + aside + " WHERE " + condition + " FOR UPDATE"); err != nil {
				return 0, err
			}
		}
		if _, err := exec("INSERT INTO " + o.opts.Table + " (" + columns + ") SELECT " + columns + " FROM " + aside + " WHERE " + condition + " ORDER BY n"); err != nil {
			return 0, err
		}
	}
	n, err := exec("DELETE FROM " + aside + " WHERE " + condition)
	if err != nil {
		return 0, err
	}
	if err := tx.Commit(); err != nil {
		return 0, fmt.Errorf("outbox: events that were set aside: %w", err)
	}
	return int(n), nil
}
