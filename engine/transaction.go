package engine

import (
	"context"
	"database/sql"
	"errors"
)

// ErrElsewhere says that a connection does not lead to the store, so that nothing can
// be pushed in a transaction on it.
var ErrElsewhere = errors.New("engine: the connection leads to another database than the store's")

// Transactional is implemented by engines whose store is a part of an SQL database,
// so that jobs can be pushed in a transaction in which the caller writes something
// else, too. Of toot's own, pgengine is one.
type Transactional interface {
	// Reaches reports whether PushIn works on a connection: it leads to the
	// store's database, by a driver that the engine knows, and its user has the
	// rights. Asking leaves a transaction on it as it is, unless there is an error.
	Reaches(ctx context.Context, conn *sql.Conn) (bool, error)

	// PushIn is Push as a part of a transaction that the caller has begun on a
	// connection which Reaches the store, at READ COMMITTED: the jobs are there
	// once it has committed, and never if it is rolled back. Leases and delays
	// count from the call, so it should end soon. After an error, other than
	// ErrInvalid, it must be rolled back; none wraps ErrUncertain.
	//
	// The tickets are good once the transaction has committed. The caller then
	// calls committed, which tells watchers of the jobs and does not block.
	PushIn(ctx context.Context, conn *sql.Conn, req PushRequest) (res PushResult, committed func(), err error)
}
