package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/pgengine"
	"github.com/watermarkchurch/toot-go/engine/redisengine"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine"
)

// store says where events are kept.
type store string

const (
	onSQLite   store = "SQLite"
	onRedis    store = "Redis"
	onPostgres store = "PostgreSQL"
	// onAsyncPostgres does not wait for the disk: like Redis with its default
	// settings, it may lose what was written last when the machine fails.
	onAsyncPostgres store = "PostgreSQL, asynchronous"
)

// stage is where one row is played: stores that nobody has used before, and
// what is to be closed afterwards.
type stage struct {
	dir      string
	profile  string // the start of the files' names; empty: none wanted
	redis    *redisServer
	postgres *postgresServer
	closers  []func() error
}

// open opens the store of an app, as a user would with the defaults.
func (s *stage) open(ctx context.Context, where store, name string) (engine.Engine, error) {
	var e engine.Engine
	var err error
	switch where {
	case onSQLite:
		e, err = sqliteengine.Open(filepath.Join(s.dir, name+".db"), &sqliteengine.Options{Logger: logger})
	case onRedis:
		if err := s.needsRedis(ctx); err != nil {
			return nil, err
		}
		e, err = redisengine.Open(ctx, s.redis.url(), &redisengine.Options{Namespace: name, Logger: logger})
	case onPostgres, onAsyncPostgres:
		if err := s.needsPostgres(); err != nil {
			return nil, err
		}
		url := s.postgres.url
		if where == onAsyncPostgres {
			url += "&synchronous_commit=off"
		}
		e, err = pgengine.Open(ctx, url, &pgengine.Options{Schema: name, Logger: logger})
	}
	if err != nil {
		return nil, err
	}
	s.onClose(e.Close)
	return e, nil
}

// needsRedis starts a redis-server unless there is one: all apps of a row
// share it.
func (s *stage) needsRedis(ctx context.Context) (err error) {
	if s.redis != nil {
		return nil
	}
	if s.redis, err = startRedis(ctx, s.dir); err != nil {
		return err
	}
	s.onClose(s.redis.stop)
	return nil
}

// needsPostgres starts a PostgreSQL server unless there is one: all apps of a row
// share its database.
func (s *stage) needsPostgres() (err error) {
	if s.postgres != nil {
		return nil
	}
	if s.postgres, err = startPostgres(); err != nil {
		return err
	}
	s.onClose(s.postgres.End)
	return nil
}

// pool returns connections to the database of the row, for what is no engine.
func (s *stage) pool(ctx context.Context, connections int32) (*pgxpool.Pool, error) {
	if err := s.needsPostgres(); err != nil {
		return nil, err
	}
	config, err := pgxpool.ParseConfig(s.postgres.url)
	if err != nil {
		return nil, err
	}
	config.MaxConns = connections
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	s.onClose(func() error { pool.Close(); return nil })
	return pool, nil
}

// serverCPU is the processor time that the store's server has used, if it has one.
func (s *stage) serverCPU(ctx context.Context) (time.Duration, error) {
	switch {
	case s.redis != nil:
		return s.redis.cpu(ctx)
	case s.postgres != nil:
		return s.postgres.cpu()
	}
	return 0, nil
}

// onClose notes what is to be done when the row is over, last things first.
func (s *stage) onClose(f func() error) { s.closers = append(s.closers, f) }

func (s *stage) close() error {
	var errs []error
	for _, f := range slices.Backward(s.closers) {
		errs = append(errs, f())
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}

// logger shows what should not happen in a measurement.
var logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
