// Package pgengine keeps toot's subscribers and jobs in a schema of a PostgreSQL
// database, version 13 or later. Any number of processes and machines may share
// it; several apps may share a database, each in a schema of its own.
//
// What a method wrote when it returned is committed: it survives what the
// server's synchronous_commit and its standbys promise.
//
// It works behind PgBouncer in transaction mode, too, which it notices by itself:
// then it prepares no statements and does without LISTEN, so that a process learns
// up to a second late of what another has pushed.
//
// Times are by a clock of the store's own, which is the server's and which no jump
// of it moves, as package engine has it.
//
// Where the server is away for no longer than some seconds, a restart, say, calls
// wait for it. An error wraps engine.ErrUncertain if the call may have taken effect
// all the same.
package pgengine
