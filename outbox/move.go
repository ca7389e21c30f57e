package outbox

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	toot "github.com/watermarkchurch/toot-go"
)

const (
	// moveTimeout bounds a look and the transaction in which events are moved,
	// and so for how long their rows are locked.
	moveTimeout = 5 * time.Second
	// moveBytes is how many bytes of events are moved in one, if those that
	// were moved before say something about their size. Reading ends at twice
	// as many.
	moveBytes = 8 << 20
)

// row is an event that waits in the outbox.
type row struct {
	n           int64
	id, channel []byte
	event       toot.Prepared
}

// move publishes up to so many events whose rows come after one, and deletes the
// rows. It returns how many were there; last is the row that was read last, and
// read how long reading took.
//
// On a database that locks row by row all of it is one transaction, in which
// other relays pass over these rows. If the engine keeps its jobs in the same
// database, the events are published in that transaction, too. Otherwise two relays
// may publish the same event if the one dies between publishing and deleting, which
// arrives once all the same.
//
// On SQLite a transaction would keep everybody from writing while the engine
// works: there rows are read, and deleted afterwards.
func (o *Outbox) move(ctx context.Context, after int64, most int) (m moved, err error) {
	if !o.dialect.Locks() {
		return o.moveUnlocked(ctx, after, most)
	}
	conn, err := o.db.Conn(ctx)
	if err != nil {
		return m, err
	}
	defer func() { _ = conn.Close() }()
	// Whatever the default is: at REPEATABLE READ, MariaDB would also lock the gap
	// behind the last row, where everybody inserts, and PostgreSQL at SERIALIZABLE
	// would have callers fail.
	tx, err := conn.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return m, err
	}
	defer func() { _ = tx.Rollback() }()
	m, rows, err := o.find(ctx, tx, after, most)
	if err != nil || len(rows) == 0 {
		return m, err
	}
	p := publishing{Outbox: o, conn: conn, tx: tx}
	committed := false
	defer func() { p.end(committed) }()
	refused, err := p.push(ctx, rows)
	if err != nil {
		return m, err
	}
	if err := o.remove(ctx, tx, rows, refused); err != nil {
		return m, err
	}
	if err := tx.Commit(); err != nil {
		return m, err
	}
	committed = true
	return o.done(m, rows, refused), nil
}

// moveUnlocked is move where the whole database would be locked.
func (o *Outbox) moveUnlocked(ctx context.Context, after int64, most int) (m moved, err error) {
	m, rows, err := o.find(ctx, o.db, after, most)
	if err != nil || len(rows) == 0 {
		return m, err
	}
	p := publishing{Outbox: o}
	refused, err := p.push(ctx, rows)
	if err != nil {
		return m, err
	}
	tx, err := o.db.BeginTx(ctx, nil)
	if err != nil {
		return m, err
	}
	defer func() { _ = tx.Rollback() }()
	if err := o.remove(ctx, tx, rows, refused); err != nil {
		return m, err
	}
	if err := tx.Commit(); err != nil {
		return m, err
	}
	return o.done(m, rows, refused), nil
}

// find reads rows, and notes how long that took.
func (o *Outbox) find(ctx context.Context, source querier, after int64, most int) (m moved, rows []row, err error) {
	began := time.Now()
	rows, m.bytes, err = o.read(ctx, source, after, most)
	m.read = time.Since(began)
	return m, rows, err
}

// done tells what came of rows whose transaction has committed.
func (o *Outbox) done(m moved, rows []row, refused []refusal) moved {
	for _, r := range refused {
		o.opts.Logger.Warn("outbox: an event can't be published and is set aside", "event", string(r.id), "channel", string(r.channel),
			"table", o.opts.Table+asideSuffix, "error", r.reason)
	}
	m.events, m.last = len(rows), rows[len(rows)-1].n
	return m
}

// moved is what came of moving events.
type moved struct {
	events, bytes int
	last          int64         // the row that came last
	read          time.Duration // how long finding them took
}

// querier is a *sql.DB or a *sql.Tx.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// read reads rows, and locks them where that is possible.
func (o *Outbox) read(ctx context.Context, from querier, after int64, most int) (found []row, bytes int, err error) {
	text := "SELECT n, id, channel, body, meta, delay_ms - (" + o.dialect.NowMillis() + " - created_ms) FROM " + o.opts.Table + " WHERE n > ? ORDER BY n LIMIT ?"
	if o.dialect.Locks() {
		text += " FOR UPDATE SKIP LOCKED"
	}
	query, args := o.dialect.Statement(text, after, most)
	rows, err := from.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = rows.Close() }()
	for bytes < 2*moveBytes && rows.Next() {
		var r row
		var delay int64
		if err := rows.Scan(&r.n, &r.id, &r.channel, &r.event.Body, &r.event.Meta, &delay); err != nil {
			return nil, 0, err
		}
		r.event.After = time.Duration(max(delay, 0)) * time.Millisecond
		found = append(found, r)
		bytes += len(r.event.Body)
	}
	if err := rows.Err(); err != nil {
		return nil, 0, err
	}
	return found, bytes, rows.Close()
}

// remove deletes rows that were published, and sets aside those that can't be.
func (o *Outbox) remove(ctx context.Context, tx *sql.Tx, rows []row, refused []refusal) error {
	for _, r := range refused {
		if err := o.setAside(ctx, tx, r); err != nil {
			return err
		}
	}
	ns := make([]int64, len(rows))
	for i, r := range rows {
		ns[i] = r.n
	}
	condition, args := o.dialect.OneOf("n", ns)
	query, args := o.dialect.Statement("DELETE FROM "+o.opts.Table+" WHERE "+condition, args...)
	if _, err := tx.ExecContext(ctx, query, args...); err != nil {
		return fmt.Errorf("can't delete what was published: %w", err)
	}
	return nil
}
