package pgengine

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// ownConnections is how many connections an engine has: more gain nothing, since
	// calls are gathered before they come here.
	ownConnections = 4
	// pingAfter is how long a connection may be idle before it is tried out: more
	// than the pulse leaves it.
	pingAfter = 5 * time.Second
	// knownStatements is how many statements a connection remembers.
	knownStatements = 512
)

// own makes the configuration of an engine's pool out of one that may be a caller's.
// Hooks that are there for those who take turns with a session are left out: one that
// resets it, say, would undo what prepareConnection does.
func own(config *pgxpool.Config) *pgxpool.Config {
	c := config.ConnConfig
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "toot"
	}
	c.StatementCacheCapacity = max(c.StatementCacheCapacity, knownStatements)
	c.DescriptionCacheCapacity = max(c.DescriptionCacheCapacity, knownStatements)
	config.MinConns, config.MinIdleConns = 0, 0
	config.BeforeAcquire, config.PrepareConn, config.AfterRelease = nil, nil, nil //nolint:staticcheck // one of them is deprecated, and may be set
	config.ShouldPing = func(_ context.Context, p pgxpool.ShouldPingParams) bool { return p.IdleDuration > pingAfter }
	before := config.AfterConnect
	config.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		if before != nil {
			if err := before(ctx, c); err != nil {
				return err
			}
		}
		return prepareConnection(ctx, c)
	}
	return config
}

// prepareConnection has a connection of the engine's own plan statements once, and
// for tables that grow: what is planned while a table is nearly empty would read all
// of it ever after. Behind a pooler there is no connection of one's own, and each
// statement is planned when it comes.
func prepareConnection(ctx context.Context, c *pgx.Conn) error {
	pooled, err := isPooled(ctx, c)
	if err != nil || pooled {
		return err
	}
	_, err = c.Exec(ctx, "SET jit = off; SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET default_transaction_isolation = 'read committed'")
	return err
}

// connect makes a connection beside the pool, to listen on.
func (e *Engine) connect(ctx context.Context) (*pgx.Conn, error) {
	config := e.pool.Config()
	if config.BeforeConnect != nil { // it may know today's password
		if err := config.BeforeConnect(ctx, config.ConnConfig); err != nil {
			return nil, err
		}
	}
	return pgx.ConnectConfig(ctx, config.ConnConfig)
}
