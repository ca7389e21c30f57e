package pgengine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/internal/identity"
	"github.com/watermarkchurch/toot-go/engine/internal/outage"
)

// Options are what Open and New can be told. The zero value is fine.
type Options struct {
	// Schema is the name of the schema in the database. Default: DefaultSchema.
	Schema string
	// Retention is how long the store is to remember what is over. Zero fields
	// leave what it has; the others are written into it with the first Claim, see
	// engine.Retention.
	Retention engine.Retention
	// Logger is told what an operator may want to know, such as a jump of the
	// server's clock. Default: nobody.
	Logger *slog.Logger

	migrations []string // for tests; default: migrations
	clock      string   // for tests: what the server's time is, instead of clock_timestamp()
}

// Engine is an engine.Engine on a schema of a PostgreSQL database. Its methods may
// be called concurrently.
type Engine struct {
	pool       *pgxpool.Pool
	schema     string
	mode       pgx.QueryExecMode
	pooled     bool // there is a pooler before the server that shares connections
	wanted     engine.Retention
	log        *slog.Logger
	migrations []string
	id         []byte // of this engine, among those on the store
	salt       [identity.SaltSize]byte
	texts      sync.Map // statements as written here, and with the schema's name
	replaces   *strings.Replacer

	calls     calls
	outage    outage.Outage
	clock     clock
	numbers   numbers
	lanes     laneCache
	audiences audiences
	watch     watcher
	house     house
	retained  atomic.Bool              // what is wanted has been written
	reached   atomic.Pointer[pgx.Conn] // a caller's connection that leads here, see pushin.go
}

var (
	_ engine.Engine        = (*Engine)(nil)
	_ engine.DeadLetters   = (*Engine)(nil)
	_ engine.Inspector     = (*Engine)(nil)
	_ engine.Credentials   = (*Engine)(nil)
	_ engine.Attributes    = (*Engine)(nil)
	_ engine.Memory        = (*Engine)(nil)
	_ engine.Retainer      = (*Engine)(nil)
	_ engine.Transactional = (*Engine)(nil)
)

// Open connects to the database that a URL names, such as
// "postgres://user:password@host:5432/database?sslmode=verify-full", with four
// connections unless its setting pool_max_conns says otherwise. It makes the
// schema, or brings it up to date, if that is needed. opts may be nil.
func Open(ctx context.Context, url string, opts *Options) (*Engine, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		// What pgx says may quote the URL, and so a password.
		return nil, errors.New("pgengine: the URL of the store can't be read: expected postgres://USER:PASSWORD@HOST:PORT/DATABASE with settings that exist, special characters escaped")
	}
	if !strings.Contains(url, "pool_max_conns") {
		config.MaxConns = ownConnections
	}
	return openWith(ctx, config, opts)
}

// New is Open for a database to which the caller has a pool. It takes how to connect
// from the pool, its hooks BeforeConnect and AfterConnect included, and makes up to
// four connections of its own, fewer if the pool has no more, and one to listen for
// hints: the pool's are neither used nor changed. opts may be nil.
func New(ctx context.Context, pool *pgxpool.Pool, opts *Options) (*Engine, error) {
	config := pool.Config()
	config.MaxConns = min(config.MaxConns, ownConnections)
	return openWith(ctx, config, opts)
}

func openWith(ctx context.Context, config *pgxpool.Config, opts *Options) (*Engine, error) {
	if opts == nil {
		opts = &Options{}
	}
	pool, err := pgxpool.NewWithConfig(ctx, own(config))
	if err != nil {
		return nil, fmt.Errorf("pgengine: %w", err)
	}
	e := &Engine{
		pool: pool, schema: opts.Schema, wanted: opts.Retention, log: opts.Logger, migrations: opts.migrations,
		id: []byte(rand.Text()[:12]),
	}
	if e.schema == "" {
		e.schema = DefaultSchema
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	if e.migrations == nil {
		e.migrations = migrations
	}
	clock := opts.clock
	if clock == "" {
		clock = "clock_timestamp()"
	}
	clock = "(extract(epoch FROM " + clock + ") * 1000000)::bigint"
	e.replaces = strings.NewReplacer("toot.", pgx.Identifier{e.schema}.Sanitize()+".", "CLOCK", clock, "NOW", "("+clock+" + clock_offset)")
	e.calls.init()
	e.startWatch()
	if err := e.tryFor(ctx, "open", whole, e.open); err != nil {
		pool.Close()
		return nil, err
	}
	return e, nil
}

func (e *Engine) open(ctx context.Context) error {
	if err := e.meetServer(ctx); err != nil {
		return err
	}
	if err := e.migrate(ctx); err != nil {
		return err
	}
	var salt []byte
	if err := e.pool.QueryRow(ctx, e.sql("SELECT salt FROM toot.state"), e.mode).Scan(&salt); err != nil {
		return err
	}
	if copy(e.salt[:], salt) != identity.SaltSize {
		return plain("the salt in the schema %q has %d bytes instead of %d", e.schema, len(salt), identity.SaltSize)
	}
	return e.startClock(ctx)
}

// isPooled tells whether there is a pooler before the server that shares
// connections. It gives each client a key of its own to cancel with, in which the
// server's process is another than the one that answers.
func isPooled(ctx context.Context, c *pgx.Conn) (bool, error) {
	var pid uint32
	err := c.QueryRow(ctx, "SELECT pg_backend_pid()", pgx.QueryExecModeExec).Scan(&pid)
	return pid != c.PgConn().PID(), err
}

// meetServer finds out what is between here and the server, and what server it is.
func (e *Engine) meetServer(ctx context.Context) error {
	return e.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
		var isolation string
		var version int
		err := c.QueryRow(ctx, "SELECT current_setting('default_transaction_isolation'), current_setting('server_version_num')::int", pgx.QueryExecModeExec).Scan(&isolation, &version)
		if err != nil {
			return err
		}
		const oldest = 130000
		switch {
		case version < oldest:
			return plain("the server is PostgreSQL %d: 13 or later is needed", version/10000)
		case isolation != "read committed":
			return plain("the connections are at %s: toot needs read committed (ALTER ROLE … SET default_transaction_isolation = 'read committed', or a role of its own)", isolation)
		}
		if e.pooled, err = isPooled(ctx, c.Conn()); err != nil {
			return err
		}
		e.mode = pgx.QueryExecModeCacheStatement
		if e.pooled {
			e.mode = pgx.QueryExecModeCacheDescribe
		}
		return nil
	})
}

// Close implements engine.Engine.
func (e *Engine) Close() error {
	e.calls.close(func() {
		e.stopWatch()
		e.leave()
		e.pool.Close()
	})
	return nil
}

// sql is a statement with the names of this engine's schema.
func (e *Engine) sql(text string) string {
	if known, ok := e.texts.Load(text); ok {
		return known.(string)
	}
	replaced := e.replaces.Replace(text)
	e.texts.Store(text, replaced)
	return replaced
}
