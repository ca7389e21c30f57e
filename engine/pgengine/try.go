package pgengine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/internal/outage"
)

// querier is a pool, a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// begin begins a transaction.
func (e *Engine) begin(ctx context.Context) (pgx.Tx, error) {
	return e.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
}

// inTx runs f in a transaction.
func (e *Engine) inTx(ctx context.Context, f func(pgx.Tx) error) error {
	tx, err := e.begin(ctx)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		// The connection may be gone, or about to be: then it is not waited for.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = tx.Rollback(ctx)
		return err
	}
	return tx.Commit(ctx)
}

// calls counts the calls under way, so that Close can wait for them.
type calls struct {
	mu      sync.Mutex
	none    *sync.Cond
	n       int
	closing bool
	closed  chan struct{}
}

func (c *calls) init() {
	c.none = sync.NewCond(&c.mu)
	c.closed = make(chan struct{})
}

func (c *calls) enter() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return engine.ErrClosed
	}
	c.n++
	return nil
}

func (c *calls) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n--; c.n == 0 {
		c.none.Broadcast()
	}
}

// close runs last once no call is under way. Whoever closes later waits for it.
func (c *calls) close(last func()) {
	c.mu.Lock()
	if c.closing {
		c.mu.Unlock()
		<-c.closed
		return
	}
	c.closing = true
	for c.n > 0 {
		c.none.Wait()
	}
	c.mu.Unlock()
	last()
	close(c.closed)
}

// patience is for how long an outage is kept from callers.
const patience = outage.Patience

// quick bounds one try of a call whose work is small: a server that stands still
// would keep it for ever.
const quick = patience

// How a call is tried.
type manner int

const (
	// again repeats what may have taken effect: doing it twice is as good.
	again manner = iota
	// once repeats only what has not taken effect for certain.
	once
	// whole is again without a bound on the time that a try takes.
	whole
)

// try is tryFor for a call of the engine's methods: it is waited for by Close, and
// the time is known.
func (e *Engine) try(ctx context.Context, name string, how manner, f func(context.Context) error) error {
	if err := e.calls.enter(); err != nil {
		return err
	}
	defer e.calls.leave()
	return e.tryFor(ctx, name, how, func(ctx context.Context) error {
		if err := e.keepTime(ctx); err != nil {
			return errBefore{err}
		}
		return f(ctx)
	})
}

// errBefore is an error of what goes before a call: nothing of the call has been
// tried.
type errBefore struct{ error }

func (e errBefore) Unwrap() error { return e.error }

// tryFor calls f until it succeeds, fails for good, or the outage lasts. The error
// wraps engine.ErrUncertain unless no try can have taken effect.
func (e *Engine) tryFor(ctx context.Context, name string, how manner, f func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	began := time.Now()
	pause := 5 * time.Millisecond
	var why error // what went wrong last, other than that the time was up
	reached := false
	for {
		err := e.attempt(ctx, how, f)
		if err == nil {
			e.outage.Over()
			return nil
		}
		unclear := uncertain(err)
		reached = reached || unclear
		if why == nil || !isContext(err) {
			why = err
		}
		if ctx.Err() != nil {
			return mark(reached, fmt.Errorf("pgengine: %s: %w", name, errors.Join(why, ctx.Err())))
		}
		if !passing(err) || how == once && unclear {
			return mark(reached, describe(name, why))
		}
		until := began.Add(patience)
		if !conflict(err) {
			until = e.outage.Failed(began)
		}
		if time.Now().Add(pause).After(until) {
			return mark(reached, describe(name, why))
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		if ctx.Err() != nil { // a try would end with that, and not tell that it sent nothing
			return mark(reached, fmt.Errorf("pgengine: %s: %w", name, errors.Join(why, ctx.Err())))
		}
		pause = min(2*pause, 250*time.Millisecond)
	}
}

func (e *Engine) attempt(ctx context.Context, how manner, f func(context.Context) error) error {
	if how == whole {
		return f(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, quick)
	defer cancel()
	return f(ctx)
}

func isContext(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// maybeDone is an error of a call that may have taken effect.
type maybeDone struct{ error }

func (e maybeDone) Unwrap() []error { return []error{engine.ErrUncertain, e.error} }

func mark(reached bool, err error) error {
	if reached {
		return maybeDone{err}
	}
	return err
}

// uncertain tells that a try may have taken effect: the connection was lost, or
// given up, before the server's answer. An answer that is an error says that there
// was no effect, save where the server ended the connection, which it may do behind
// a commit.
func uncertain(err error) bool {
	var before errBefore
	var connect *pgconn.ConnectError
	var refused *pgconn.PgError
	switch {
	case err == nil, errors.As(err, &before), errors.As(err, &connect), pgconn.SafeToRetry(err), errors.As(err, new(plainError)), errors.Is(err, engine.ErrInvalid), errors.Is(err, engine.ErrClosed), errors.Is(err, errMoved):
		return false
	case errors.As(err, &refused):
		return refused.Code == "57P01" || refused.Code == "57P02" || refused.Code[:2] == "08"
	}
	return true
}

// plainError is an error of this package's own, of a call that had no effect.
type plainError string

func (e plainError) Error() string { return string(e) }

func plain(format string, args ...any) error { return plainError(fmt.Sprintf(format, args...)) }

// errMoved is the error of a try that relied on what had changed meanwhile: it had
// no effect, and the next one knows better.
var errMoved = errors.New("somebody else changed the store meanwhile")

// conflict tells of an error that says nothing of the server's state: two
// transactions were in each other's way.
func conflict(err error) bool {
	var refused *pgconn.PgError
	return errors.Is(err, errMoved) || errors.As(err, &refused) && (refused.Code == "40001" || refused.Code == "40P01" || refused.Code == "55P03")
}

// passing tells whether an error is likely to be over soon.
func passing(err error) bool {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return conflict(err) || outages[refused.Code] != "" || refused.Code[:2] == "08"
	}
	return conflict(err) || isNetwork(err)
}

// isNetwork tells an error of a connection from one of this program, such as an
// answer that can't be read.
func isNetwork(err error) bool {
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) || pgconn.SafeToRetry(err) || isContext(err) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, pgconn.ErrConnClosed)
}

// outages are the error codes of servers that are not able to work just now.
var outages = map[string]string{
	"57P01": "it is being shut down",
	"57P02": "it has crashed and recovers",
	"57P03": "it is starting, or being shut down",
	"57P05": "it has ended an idle session",
	"57014": "statement_timeout was over, or somebody cancelled the statement",
	"53300": "it has no connection to spare",
	"25006": "it is a standby; after a failover this should pass",
	"25P03": "idle_in_transaction_session_timeout was over",
}

// hopeless are those that somebody has to see to.
var hopeless = map[string]string{
	"53100": "its disk is full",
	"53200": "it is out of memory",
	"42501": "the role lacks a privilege, see docs/operating.md",
	"28P01": "the password is wrong",
	"28000": "the role is not let in",
	"3D000": "there is no such database",
	"42P01": "a table of toot's is missing: was the schema dropped?",
	"3F000": "the schema is missing: was it dropped?",
}

// describe turns an error into a sentence that says what to do. What pgx says of a
// connection has no password in it.
func describe(name string, err error) error {
	if errors.Is(err, engine.ErrClosed) || errors.Is(err, engine.ErrInvalid) {
		return err
	}
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		for _, codes := range []map[string]string{outages, hopeless} {
			if meaning := codes[refused.Code]; meaning != "" {
				return fmt.Errorf("pgengine: %s: the server refuses: %s: %w", name, meaning, err)
			}
		}
	}
	return fmt.Errorf("pgengine: %s: %w", name, err)
}
