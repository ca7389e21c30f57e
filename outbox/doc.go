// Package outbox publishes events exactly if a database transaction commits.
//
//	box, err := outbox.New(app, db, outbox.Postgres, nil)
//	err = box.Migrate(ctx) // or the SQL of `toot outbox schema --dialect postgres`
//	go box.Run(ctx)        // in any number of processes
//
//	tx, err := db.BeginTx(ctx, nil)
//	// … what the event tells of …
//	_, err = box.Publish(ctx, tx, "orders.placed.v1", order)
//	err = tx.Commit()
//
// [Outbox.Publish] writes the event into a table, in the caller's transaction.
// [Outbox.Run], the relay, gives what has committed to the App, which delivers
// it to those who are subscribed at that moment, and deletes the row. An event
// keeps its ID on this way, so one that the relay publishes twice, because its
// process or a connection died in between, arrives once within the dedupe
// window; package inbox makes that forever.
//
// It works on PostgreSQL, MariaDB and SQLite, with any driver for database/sql,
// and on MySQL 8 by the same SQL, which is not tested. Package pgxoutbox is for
// transactions of pgx. docs/transactions.md says what may still happen.
package outbox
