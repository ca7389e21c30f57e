package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// row is a line of the table.
type row struct {
	name  string
	about string
	// against is the row with which its rate is compared, if there is one.
	against string
	// once is for rows that are too long to be repeated.
	once bool
	run  func(ctx context.Context, b *bench, s *stage) (sample, error)
}

// rawName is the row that all others are measured against.
const rawName = "raw"

// The closed loops: how many goroutines publish, how many events a call, and
// how many may be on their way.
var (
	singles = load{publishers: 64, batch: 1, window: 1024}
	batches = load{publishers: 64, batch: 100, window: 8192}
)

// rowSets are the sets of rows, by the name that --set takes.
var rowSets = map[string]func(options) []row{"main": mainRows, "postgres": postgresRows}

var rawRow = row{name: rawName, about: "net/http alone: a POST of the same body, 64 clients"}

// mainRows are about toot on each engine.
func mainRows(o options) []row {
	return []row{
		rawRow,
		{name: "sqlite/single", about: "full life on SQLite, one event per POST", run: fullLife(onSQLite, singles)},
		{name: "sqlite/batch", about: "full life on SQLite, PublishAll of 100, batches negotiated", run: fullLife(onSQLite, batches)},
		{name: "redis/single", about: "full life on Redis, one event per POST", run: fullLife(onRedis, singles)},
		{name: "redis/batch", about: "full life on Redis, PublishAll of 100, batches negotiated", run: fullLife(onRedis, batches)},
		{name: "postgres/single", about: "full life on PostgreSQL, one event per POST", run: fullLife(onPostgres, singles)},
		{name: "postgres/batch", about: "full life on PostgreSQL, PublishAll of 100, batches negotiated", run: fullLife(onPostgres, batches)},
		{name: "publish/sqlite", about: "Publish alone, until it returns, on SQLite", run: publishOnly(onSQLite)},
		{name: "publish/redis", about: "Publish alone, until it returns, on Redis", run: publishOnly(onRedis)},
		{name: "fanout/1", about: "1 subscriber, a bare endpoint: publish and POST, on SQLite", run: bareReceivers(onSQLite, singles, 1)},
		{name: "fanout/10", about: "10 of them; deliveries", against: "fanout/1", run: bareReceivers(onSQLite, singles, 10)},
		{name: "fanout/1000", about: "1,000 of them; deliveries", against: "fanout/1", run: bareReceivers(onSQLite, singles, 1000)},
		{name: "fanout/10000", about: "10,000 of them; deliveries", against: "fanout/1", run: bareReceivers(onSQLite, singles, 10_000)},
		{name: "asynq", about: "asynq on Redis: a task per event, whose handler POSTs to a bare endpoint", run: asynqPost},
		{name: "post/redis", about: "the same with toot: publish and POST to a bare endpoint, on Redis", against: "asynq", run: bareReceivers(onRedis, singles, 1)},
		{name: "latency", about: "full life on SQLite at 500 events/s", run: latency(onSQLite)},
		{name: "latency/redis", about: "full life on Redis at 500 events/s", run: latency(onRedis)},
		{name: "latency/postgres", about: "full life on PostgreSQL at 500 events/s", run: latency(onPostgres)},
		{name: "backlog", about: fmt.Sprintf("%s events waiting on SQLite, then drained", thousands(float64(o.backlog))), against: "an empty queue", once: true, run: backlog(onSQLite, o.backlog)},
	}
}

// postgresRows are about what PostgreSQL as an engine has to stand, and what else
// is built on it.
func postgresRows(o options) []row {
	return []row{
		rawRow,
		{name: "river", about: "River: a job for each event, inserted in a transaction, whose worker POSTs to a bare endpoint", run: riverPost(singles)},
		{name: "post/postgres", about: "the same with toot: publish and POST to a bare endpoint", against: "river", run: bareReceivers(onPostgres, singles, 1)},
		{name: "river/many", about: "River's InsertManyFast of 100", run: riverPost(batches)},
		{name: "post/postgres/many", about: "the same with toot: PublishAll of 100", against: "river/many", run: bareReceivers(onPostgres, batches, 1)},
		{name: "redis/single", about: "full life on Redis, one event per POST", run: fullLife(onRedis, singles)},
		{name: "postgres/async", about: "full life with synchronous_commit = off, one event per POST", against: "redis/single", run: fullLife(onAsyncPostgres, singles)},
		{name: "postgres/batch", about: "full life, PublishAll of 100, batches negotiated", run: fullLife(onPostgres, batches)},
		{name: "stuck", about: fmt.Sprintf("the same beside %s jobs that are stuck in two other lanes", thousands(float64(o.stuckJobs()))), against: "postgres/batch", run: besideStuck},
		{name: "claims/10", about: "claimed and settled by 500, without an app: jobs in 10 lanes", run: claims(10)},
		{name: "claims/1000", about: "in 1,000 lanes", against: "claims/10", run: claims(1000)},
		{name: "insert", about: "transactions of two INSERTs", run: transactions(plainInsert)},
		{name: "outbox", about: "transactions of an INSERT and outbox.Publish, until the relay has stored the events with a delivery each", against: "insert", run: transactions(outboxPublish)},
		{name: "long", about: fmt.Sprintf("full life in batches of %s events", thousands(float64(o.backlog))), once: true, run: longRun(false)},
		{name: "long/snapshot", about: "the same while a snapshot is held open", against: "long", once: true, run: longRun(true)},
		{name: "backlog/postgres", about: fmt.Sprintf("%s events waiting, then drained", thousands(float64(o.backlog))), against: "an empty queue", once: true, run: backlog(onPostgres, o.backlog)},
	}
}

// choose picks rows by name. The raw row is always there: nothing means
// anything without it.
func choose(rows []row, only []string) ([]row, error) {
	if len(only) == 0 {
		return rows, nil
	}
	var names []string
	for _, r := range rows {
		names = append(names, r.name)
	}
	for _, name := range only {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("no row is named %q; there are %s", name, strings.Join(names, ", "))
		}
	}
	return slices.DeleteFunc(rows, func(r row) bool { return r.name != rawName && !slices.Contains(only, r.name) }), nil
}
