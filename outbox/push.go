package outbox

import (
	"context"
	"database/sql"
	"errors"
	"time"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
)

// askAgain is how long after the engine's store was found to be elsewhere that is
// asked again: rights may have been granted, or the database moved.
const askAgain = time.Minute

// publishing is what is published in one move.
type publishing struct {
	*Outbox
	conn *sql.Conn // with the transaction tx, in which the engine may publish, too; nil: there is none
	tx   *sql.Tx

	ends []func(committed bool) // of what was published in it
}

// refusal is a row that is set aside.
type refusal struct {
	row
	reason error
}

// push publishes the events of rows. Those that can't be published are returned;
// any other error is about all of them.
func (p *publishing) push(ctx context.Context, rows []row) (refused []refusal, err error) {
	events := make([]toot.Prepared, len(rows))
	for i, r := range rows {
		events[i] = r.event
	}
	err = p.publish(ctx, events)
	switch {
	case err == nil:
		return nil, nil
	case !isAboutTheEvent(err):
		return nil, err
	case len(rows) == 1:
		return []refusal{{rows[0], err}}, nil
	}
	for _, half := range [][]row{rows[:len(rows)/2], rows[len(rows)/2:]} {
		some, err := p.push(ctx, half)
		if err != nil {
			return nil, err
		}
		refused = append(refused, some...)
	}
	return refused, nil
}

// publish publishes events in the transaction if the engine can, and before it is
// committed otherwise. Then it need not survive a crash of PostgreSQL that the
// transaction has committed: it would be made again.
func (p *publishing) publish(ctx context.Context, events []toot.Prepared) error {
	if p.conn != nil && p.dialect == Postgres && time.Now().UnixNano() >= p.apartUntil.Load() {
		ended, err := p.app.PublishPreparedIn(ctx, p.conn, events...)
		if err == nil {
			p.ends = append(p.ends, ended)
			return nil
		}
		if !errors.Is(err, engine.ErrElsewhere) {
			return err
		}
		p.apartUntil.Store(time.Now().Add(askAgain).UnixNano())
	}
	if p.tx != nil && p.dialect == Postgres && len(p.ends) == 0 {
		if _, err := p.tx.ExecContext(ctx, "SET LOCAL synchronous_commit = off"); err != nil {
			return err
		}
	}
	return p.app.PublishPrepared(ctx, events...)
}

// end tells what was published in the transaction whether that has committed.
func (p *publishing) end(committed bool) {
	for _, end := range p.ends {
		end(committed)
	}
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
