package pgengine

import (
	"context"
	"database/sql"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/watermarkchurch/toot-go/engine"
)

// borrowed is a caller's connection, in a transaction of the caller's. It may have
// settings of its own and a pooler before it: nothing is prepared there by a name.
type borrowed struct{ conn *pgx.Conn }

func (b borrowed) args(args []any) []any {
	if len(args) == 0 {
		return args
	}
	if _, ok := args[0].(pgx.QueryExecMode); !ok {
		return args
	}
	mode := pgx.QueryExecModeCacheDescribe
	if b.conn.Config().DescriptionCacheCapacity == 0 {
		mode = pgx.QueryExecModeDescribeExec
	}
	return append([]any{mode}, args[1:]...)
}

func (b borrowed) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	return b.conn.Query(ctx, sql, b.args(args)...)
}

func (b borrowed) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	return b.conn.QueryRow(ctx, sql, b.args(args)...)
}

func (b borrowed) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	return b.conn.Exec(ctx, sql, b.args(args)...)
}

// borrow calls f with the connection that database/sql has from pgx. It reports false
// for another driver's.
func borrow(conn *sql.Conn, f func(borrowed) error) (ok bool, err error) {
	errConn := conn.Raw(func(driver any) error {
		var c *stdlib.Conn
		if c, ok = driver.(*stdlib.Conn); ok {
			err = f(borrowed{c.Conn()})
		}
		return nil
	})
	return ok, errors.Join(err, errConn)
}

// Reaches implements engine.Transactional. That it is the same database, and not a
// copy of it, say, shows in that this engine has written down there that it is at work.
func (e *Engine) Reaches(ctx context.Context, conn *sql.Conn) (bool, error) {
	if err := e.calls.enter(); err != nil {
		return false, err
	}
	defer e.calls.leave()
	var there bool
	ok, err := borrow(conn, func(b borrowed) (err error) {
		there, err = e.isStore(ctx, b)
		return err
	})
	if err != nil {
		return false, describe("push in a transaction", err)
	}
	return ok && there, nil
}

func (e *Engine) isStore(ctx context.Context, b borrowed) (bool, error) {
	const tables = `SELECT COALESCE(bool_and(has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
			AND has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE')), false)
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relname IN ('state', 'processes', 'lanes', 'jobs', 'events', 'counts', 'seen0', 'seen1')`
	if e.reached.Load() != b.conn {
		var usable bool
		if err := b.QueryRow(ctx, tables, e.mode, e.schema).Scan(&usable); err != nil || !usable {
			return false, err
		}
		e.reached.Store(b.conn)
	}
	if err := e.beginWork(ctx); err != nil {
		return false, err
	}
	written := func() (found bool, err error) {
		err = b.QueryRow(ctx, e.sql("SELECT EXISTS (SELECT 1 FROM toot.processes WHERE id = $1)"), e.mode, e.id).Scan(&found)
		return found, err
	}
	if found, err := written(); err != nil || found {
		return found, err
	}
	// Others take a process for dead that has said nothing for a while.
	if err := e.sayHello(ctx); err != nil {
		return false, err
	}
	return written()
}

// PushIn implements engine.Transactional.
func (e *Engine) PushIn(ctx context.Context, conn *sql.Conn, req engine.PushRequest) (engine.PushResult, func(), error) {
	if err := req.Validate(); err != nil {
		return engine.PushResult{}, nil, err
	}
	if err := e.calls.enter(); err != nil {
		return engine.PushResult{}, nil, err
	}
	defer e.calls.leave()
	p := &push{req: &req}
	ok, err := borrow(conn, func(b borrowed) error { return p.storeIn(ctx, e, b) })
	if err == nil && !ok {
		err = engine.ErrElsewhere
	}
	if err == nil {
		err = p.hearAudiences(ctx, e, moment{})
	}
	if err != nil {
		return engine.PushResult{}, nil, describe("push in a transaction", err)
	}
	return engine.PushResult{Tickets: p.tickets(), Audiences: p.audiences}, func() { e.hint(p.jobs.kinds()) }, nil
}

// storeIn stores the jobs that are new in a transaction of the caller's. What has
// moved meanwhile, such as the generation, shows before anything is written.
func (p *push) storeIn(ctx context.Context, e *Engine, b borrowed) error {
	if len(p.req.Jobs) == 0 {
		return nil
	}
	if b.conn.PgConn().TxStatus() != 'T' {
		return plain("no transaction has been begun on the connection, or it has failed")
	}
	if err := p.prepare(ctx, e); err != nil {
		return err
	}
	const tries = 3
	var now int64
	for try := 1; ; try++ {
		err := e.keepTime(ctx)
		if err == nil {
			err = p.jobs.place(ctx, e)
		}
		if err != nil {
			return err
		}
		p.jobs.makeKeys()
		if now, err = p.jobs.findFresh(ctx, e, b, nil); err == nil {
			break
		}
		if !errors.Is(err, errMoved) || try == tries {
			return err
		}
	}
	if err := p.jobs.storeFresh(ctx, e, b, now); err != nil {
		return err
	}
	return p.settlePasts(ctx, e, b)
}
