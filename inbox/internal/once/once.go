// Package once runs handlers in transactions so that what each does for an event
// happens once. It is what inbox and pgxinbox have in common: T is their type of
// transaction.
package once

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/internal/dialect"
)

// DB is a database.
type DB[T any] interface {
	Begin(ctx context.Context) (T, error)
	// Exec returns how many rows were affected.
	Exec(ctx context.Context, tx T, query string, args ...any) (int64, error)
	Commit(ctx context.Context, tx T) error
	// Rollback is called after Commit, too.
	Rollback(tx T)
	// ExecAlone is Exec in a transaction of its own.
	ExecAlone(ctx context.Context, query string, args ...any) (int64, error)
}

// Config is what an Inbox is made of. Zero fields mean the defaults that package
// inbox documents.
type Config struct {
	Dialect  dialect.Dialect
	Table    string
	Keep     time.Duration
	AtOnce   int
	MaxConns int // of the pool, 0 for one without a bound
	Logger   *slog.Logger
}

// DefaultTable is the table of notes.
const DefaultTable = "toot_inbox"

// Inbox runs handlers. Its methods may be called concurrently.
type Inbox[T any] struct {
	db      DB[T]
	dialect dialect.Dialect
	table   string
	keep    time.Duration
	slots   chan struct{} // has something in it for each handler that runs
	log     *slog.Logger
	note    string // the statement
	sweeper sweeper
}

// New returns an Inbox.
func New[T any](db DB[T], c Config) (*Inbox[T], error) {
	if c.Table == "" {
		c.Table = DefaultTable
	}
	if c.Keep == 0 {
		c.Keep = 30 * 24 * time.Hour
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if err := errors.Join(c.Dialect.Check(), dialect.CheckTable(c.Table)); err != nil {
		return nil, fmt.Errorf("inbox: %w", err)
	}
	const unbounded = 16 // as many as a subscription has at once by default
	switch {
	case !c.Dialect.Locks(): // there is one writer
		c.AtOnce = 1
	case c.AtOnce <= 0 && c.MaxConns <= 0:
		c.AtOnce = unbounded
	case c.AtOnce <= 0 || c.MaxConns > 0 && c.AtOnce > c.MaxConns:
		c.AtOnce = c.MaxConns
	}
	return &Inbox[T]{
		db: db, dialect: c.Dialect, table: c.Table, keep: c.Keep, slots: make(chan struct{}, c.AtOnce), log: c.Logger,
		note: note(c.Dialect, c.Table),
	}, nil
}

// Table is the table of notes.
func (in *Inbox[T]) Table() string { return in.table }

const (
	// maxConflicts is how often a transaction is made again at once, because
	// another one was in its way or because it is not known whether it has
	// committed.
	maxConflicts = 10
	// pauseFirst and pauseMost are the pauses before that.
	pauseFirst = 5 * time.Millisecond
	pauseMost  = 500 * time.Millisecond
)

// Handle runs fn for an event in a transaction, unless that has been done before.
func (in *Inbox[T]) Handle(ctx context.Context, e *toot.Event, fn func(ctx context.Context, tx T) error) error {
	if age := time.Since(e.Timestamp); in.keep > 0 && !e.Timestamp.IsZero() && age > in.keep {
		return toot.Permanent(fmt.Errorf("inbox: the event is %v old; whether it was handled before is known for %v only", age.Round(time.Minute), in.keep))
	}
	select {
	case in.slots <- struct{}{}:
		defer func() { <-in.slots }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for try := 1; ; try++ {
		again, err := in.try(ctx, e, fn)
		if !again || try > maxConflicts || ctx.Err() != nil {
			if err == nil {
				in.sweep(ctx)
			}
			return err
		}
		pause := min(pauseFirst<<min(try, 10), pauseMost)
		select {
		case <-time.After(pause/2 + time.Duration(rand.Int64N(int64(pause/2)))): //nolint:gosec // it only has to differ
		case <-ctx.Done():
			return err
		}
	}
}

// try runs fn in one transaction. It says whether to do so again at once.
func (in *Inbox[T]) try(ctx context.Context, e *toot.Event, fn func(ctx context.Context, tx T) error) (again bool, err error) {
	tx, err := in.db.Begin(ctx)
	if err != nil {
		return dialect.IsConflict(err), fmt.Errorf("inbox: can't begin a transaction: %w", err)
	}
	defer in.db.Rollback(tx) // also where fn panics
	query, args := in.dialect.Statement(in.note, key(e.Subscription, e.Channel), key(e.ID))
	fresh, err := in.db.Exec(ctx, tx, query, args...)
	if err != nil {
		return dialect.IsConflict(err), fmt.Errorf("inbox: can't note an event in %s: %w", in.table, err)
	}
	if fresh == 0 {
		return false, nil
	}
	if err := fn(ctx, tx); err != nil {
		return dialect.IsConflict(err), err
	}
	if ctx.Err() != nil { // somebody else may be running it
		return false, context.Cause(ctx)
	}
	if err := in.db.Commit(ctx, tx); err != nil {
		// Where the answer was lost, the note tells whether it has committed.
		return dialect.IsConflict(err) || !dialect.IsAnswer(err), fmt.Errorf("inbox: can't commit: %w", err)
	}
	return false, nil
}
