package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
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
// other relays pass over these rows. On SQLite that would keep everybody from
// writing while the engine works: there rows are read, and deleted afterwards.
// Two relays may publish the same event then, which arrives once all the same,
// as it does if the process dies between publishing and deleting.
func (o *Outbox) move(ctx context.Context, after int64, most int) (m moved, err error) {
	var tx *sql.Tx
	var source querier = o.db
	if o.dialect.Locks() {
		if tx, err = o.beginMove(ctx); err != nil {
			return m, err
		}
		defer func() { _ = tx.Rollback() }()
		source = tx
	}
	began := time.Now()
	rows, bytes, err := o.read(ctx, source, after, most)
	m.read = time.Since(began)
	if err != nil || len(rows) == 0 {
		return m, err
	}
	refused, err := o.push(ctx, rows)
	if err != nil {
		return m, err
	}
	if tx == nil {
		if tx, err = o.db.BeginTx(ctx, nil); err != nil {
			return m, err
		}
		defer func() { _ = tx.Rollback() }()
	}
	if err := o.remove(ctx, tx, rows, refused); err != nil {
		return m, err
	}
	if err := tx.Commit(); err != nil {
		return m, err
	}
	for _, r := range refused {
		o.opts.Logger.Warn("outbox: an event can't be published and is set aside", "event", string(r.id), "channel", string(r.channel),
			"table", o.opts.Table+asideSuffix, "error", r.reason)
	}
	m.events, m.bytes, m.last = len(rows), bytes, rows[len(rows)-1].n
	return m, nil
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

// beginMove begins a transaction in which rows are locked. It is READ COMMITTED
// whatever the default is: at REPEATABLE READ, MariaDB would also lock the gap
// behind the last row, where everybody inserts, and PostgreSQL at SERIALIZABLE
// would have callers fail.
//
// That it has committed need not survive a crash of PostgreSQL: it would be
// made again.
func (o *Outbox) beginMove(ctx context.Context) (*sql.Tx, error) {
	tx, err := o.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return nil, err
	}
	if o.dialect == Postgres {
		if _, err := tx.ExecContext(ctx, "SET LOCAL synchronous_commit = off"); err != nil {
			return nil, errors.Join(err, tx.Rollback())
		}
	}
	return tx, nil
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

// refusal is a row that is set aside.
type refusal struct {
	row
	reason error
}

// push publishes the events of rows. Those that can't be published are returned;
// any other error is about all of them.
func (o *Outbox) push(ctx context.Context, rows []row) (refused []refusal, err error) {
	events := make([]toot.Prepared, len(rows))
	for i, r := range rows {
		events[i] = r.event
	}
	err = o.app.PublishPrepared(ctx, events...)
	switch {
	case err == nil:
		return nil, nil
	case !isAboutTheEvent(err):
		return nil, err
	case len(rows) == 1:
		return []refusal{{rows[0], err}}, nil
	}
	for _, half := range [][]row{rows[:len(rows)/2], rows[len(rows)/2:]} {
		some, err := o.push(ctx, half)
		if err != nil {
			return nil, err
		}
		refused = append(refused, some...)
	}
	return refused, nil
}

// isAboutTheEvent reports an error that trying again does not mend.
func isAboutTheEvent(err error) bool {
	for _, about := range []error{toot.ErrInvalidChannel, toot.ErrInvalidID, toot.ErrInvalidPayload, toot.ErrTooLarge, engine.ErrInvalid} {
		if errors.Is(err, about) {
			return true
		}
	}
	return false
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
