// Package inbox runs handlers in database transactions, so that what a handler
// does to the database happens exactly once for each event.
//
//	in, err := inbox.New(db, inbox.Postgres, nil)
//	err = in.Migrate(ctx) // or the SQL of `toot inbox schema --dialect postgres`
//	err = app.Subscribe("bank", "transfers.made.v1", inbox.HandlePayload(in,
//		func(ctx context.Context, tx *sql.Tx, e *toot.Event, t Transfer) error {
//			_, err := tx.ExecContext(ctx, "UPDATE accounts …")
//			return err
//		}))
//
// Delivery is at least once: a process may die after its handler has done
// something and before that is recorded. Here it is recorded in the transaction
// in which it is done: a note with the subscription and the event's ID, written
// first. If the note is there, the event has been handled.
//
// It works on PostgreSQL, MariaDB and SQLite, with any driver for database/sql,
// and on MySQL 8 by the same SQL, which is not tested. Package pgxinbox is for
// transactions of pgx. docs/transactions.md says what may still happen.
package inbox
