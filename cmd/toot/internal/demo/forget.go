package demo

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/rueidis"

	"github.com/watermarkchurch/toot-go/cmd/toot/internal/redisclient"
)

const forgetTimeout = 10 * time.Second

// forget deletes what belongs to a namespace whose name begins like this: every key
// of a Redis server, or of a cluster, those of its channels included, or the schemas
// of a PostgreSQL database.
func forget(name, prefix string) error {
	if !strings.Contains(name, "://") {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), forgetTimeout, errors.New("the server did not answer in time"))
	defer cancel()
	if strings.HasPrefix(name, "postgres") {
		return dropSchemas(ctx, name, prefix)
	}
	client, err := redisclient.Connect(ctx, name)
	if err != nil {
		return err
	}
	defer client.Close()
	for _, node := range client.Nodes() {
		for _, pattern := range []string{"{" + prefix + "*", prefix + ".*"} {
			if err := unlink(ctx, client, node, pattern); err != nil {
				return err
			}
		}
	}
	return nil
}

// unlink deletes the keys of a node that match.
func unlink(ctx context.Context, client, node rueidis.Client, pattern string) error {
	for cursor := uint64(0); ; {
		page, err := node.Do(ctx, node.B().Scan().Cursor(cursor).Match(pattern).Count(1000).Build()).AsScanEntry()
		if err != nil {
			return err
		}
		for _, key := range page.Elements {
			if err := client.Do(ctx, client.B().Unlink().Key(key).Build()).Error(); err != nil {
				return err
			}
		}
		if cursor = page.Cursor; cursor == 0 {
			return nil
		}
	}
}

// dropSchemas drops the schemas of a database whose names begin like this.
func dropSchemas(ctx context.Context, name, prefix string) error {
	conn, err := pgx.Connect(ctx, name)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	rows, err := conn.Query(ctx, "SELECT nspname FROM pg_catalog.pg_namespace WHERE starts_with(nspname, $1)", pgx.QueryExecModeExec, prefix)
	if err != nil {
		return err
	}
	schemas, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, schema := range schemas {
		if _, err := conn.Exec(ctx, "DROP SCHEMA "+pgx.Identifier{schema}.Sanitize()+" CASCADE"); err != nil {
			return err
		}
	}
	return nil
}
