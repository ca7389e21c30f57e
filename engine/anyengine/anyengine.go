// Package anyengine opens the store that a URL names, such as one from a
// configuration file or the environment, as the command toot does:
//
//	sqlite:toot.db                                a file, by package sqliteengine
//	redis://user:password@host:6379/0             a server, by package redisengine
//	rediss://host:6379?namespace=shop             with TLS, and a namespace
//	redis+sentinel://host1:26379,host2/master/0   what Sentinels manage
//	redis+cluster://host1:6379,host2:6379         a Redis Cluster
//
// An app that always has the same kind of store had better import its engine
// alone: this package brings all of them along, and all that they stand on.
package anyengine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/watermarkchurch/toot-go/engine"
)

// Store is an engine with all that the engines of this module have in common.
type Store interface {
	engine.Engine
	engine.DeadLetters
	engine.Inspector
	engine.Credentials
	engine.Attributes
	engine.Memory
	engine.Retainer
	engine.Contents
}

// Options say how to open a store. The zero value is fine.
type Options struct {
	// Existing makes a SQLite file that is not there an error, which wraps
	// fs.ErrNotExist. Default: it is created.
	Existing bool
	// Namespace and RedisNamespace are those of a store on Redis whose URL has
	// none, see redisengine.Options; on PostgreSQL Namespace is the schema of one
	// whose URL has none. Default: the engine's.
	Namespace      string
	RedisNamespace string
	// Retention is how long the store is to remember what is over. Zero fields
	// leave what it has, see engine.Retention.
	Retention engine.Retention
	// Logger is told what an operator may want to know. Default: nobody.
	Logger *slog.Logger
}

// kind is a kind of store. Another one is added with a file beside sqlite.go
// and redis.go, an entry in kinds and its form in Help.
type kind struct {
	// isNamed reports whether a name, which may be none, is that of such a
	// store. That everything in it is right is not said.
	isNamed func(name string) bool
	open    func(ctx context.Context, name string, o *Options) (Store, error)
	// shown are the settings in a URL, behind its ?, that are no secret.
	shown []string
}

var kinds = []kind{sqlite, redis, postgres}

// Help says what the names of stores look like.
const Help = sqliteForm + ", " + redisForm + " or " + postgresForm

// ErrName is returned for a name that is none of a store's.
var ErrName = errors.New("not the name of a store")

// kindOf returns the kind of the store that is named, nil if there is none.
func kindOf(name string) *kind {
	for i := range kinds {
		if kinds[i].isNamed(name) {
			return &kinds[i]
		}
	}
	return nil
}

// Open opens a store by its name: a URL, or the path of an SQLite file that has
// a slash in it or ends in .db. opts may be nil. The caller closes the Store.
//
// The path of a file may follow "sqlite:" or "sqlite://". URLs of Redis are as
// for redisengine.Open, with two settings more, ?namespace=… and
// ?redis_namespace=…; those of PostgreSQL are as for pgengine.Open, with one more,
// ?schema=…. Open waits for a server for at most ten seconds.
//
// The error is an ErrName if no kind of store has such a name, else the engine's.
// No error repeats a user name, a password or a setting that may be one. Open
// may be called concurrently.
func Open(ctx context.Context, name string, opts *Options) (Store, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if k := kindOf(name); k != nil {
		return k.open(ctx, name, &o)
	}
	switch isURL := strings.Contains(name, "://"); {
	case name == "":
		return nil, fmt.Errorf("%w: it is empty; expected %s", ErrName, Help)
	case !isURL && hasScheme(name):
		return nil, fmt.Errorf("%w: there is no :// in it; expected %s", ErrName, Help)
	}
	return nil, fmt.Errorf("%w: %q; expected %s", ErrName, Redact(name), Help)
}

// hasScheme reports a name that begins like a URL, with or without the slashes:
// "redis:/:password@host" is none of a file's. A single letter is a drive.
func hasScheme(name string) bool {
	scheme, _, ok := strings.Cut(name, ":")
	return ok && len(scheme) > 1 && !strings.ContainsFunc(scheme, func(r rune) bool {
		return (r|0x20 < 'a' || r|0x20 > 'z') && (r < '0' || r > '9') && r != '+' && r != '-' && r != '.'
	})
}
