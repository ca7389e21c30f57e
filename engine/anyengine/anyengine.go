// Package anyengine opens the engine on a store that is named by a URL, as the
// command and configuration files do.
package anyengine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/redisengine"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine"
)

// Store is an engine with all that the command asks of one.
type Store interface {
	engine.Engine
	engine.DeadLetters
	engine.Inspector
	engine.Memory
	engine.Retainer
}

// Options say how to open a store.
type Options struct {
	// Existing makes a SQLite file that is not there an error. Otherwise it
	// is created.
	Existing bool
	// Namespace is used on Redis unless the name of the store has one.
	Namespace string
	// Retention is how long the store is to remember what is over. Zero fields
	// leave what it has, see engine.Retention.
	Retention engine.Retention
	Logger    *slog.Logger
}

// Help says what names of stores look like.
const Help = "sqlite:PATH or redis://HOST[:PORT][/DB][?namespace=NAME]"

// ErrName is returned for a name that is none of a store's.
var ErrName = errors.New("not the name of a store")

// openTimeout bounds how long a server is waited for.
const openTimeout = 10 * time.Second

// Open opens a store by its name: "sqlite:PATH", a path that has a slash in
// it or ends in .db, or a URL as package redisengine takes it, which may have
// a setting more, ?namespace=….
func Open(ctx context.Context, name string, o Options) (Store, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if path, ok := sqlitePath(name); ok {
		return openSQLite(path, o)
	}
	scheme, _, isURL := strings.Cut(name, "://")
	if isURL && (strings.HasPrefix(scheme, "redis") || strings.HasPrefix(scheme, "valkey")) {
		return openRedis(ctx, name, o)
	}
	if name == "" {
		return nil, fmt.Errorf("%w: it is empty; name one with --store or TOOT_STORE: %s", ErrName, Help)
	}
	return nil, fmt.Errorf("%w: %q; expected %s", ErrName, Redact(name), Help)
}

func sqlitePath(name string) (path string, ok bool) {
	for _, prefix := range []string{"sqlite://", "sqlite:"} {
		if path, ok := strings.CutPrefix(name, prefix); ok {
			return path, true
		}
	}
	if strings.Contains(name, "://") {
		return "", false
	}
	return name, strings.ContainsRune(name, filepath.Separator) || strings.HasSuffix(name, ".db")
}

func openSQLite(path string, o Options) (Store, error) {
	if path == "" {
		return nil, fmt.Errorf("%w: sqlite: needs the path of a file, such as sqlite:toot.db", ErrName)
	}
	if o.Existing {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no store at %s: check the path, or TOOT_STORE", path)
		}
	}
	e, err := sqliteengine.Open(path, &sqliteengine.Options{Retention: o.Retention, Logger: o.Logger})
	if err != nil {
		return nil, err
	}
	return e, nil
}

func openRedis(ctx context.Context, name string, o Options) (Store, error) {
	name, namespace, err := cutNamespace(name)
	if err != nil {
		return nil, err
	}
	if namespace == "" {
		namespace = o.Namespace
	}
	ctx, cancel := context.WithTimeoutCause(ctx, openTimeout, errNoAnswer)
	defer cancel()
	e, err := redisengine.Open(ctx, name, &redisengine.Options{Namespace: namespace, Retention: o.Retention, Logger: o.Logger})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// cutNamespace takes the setting out that is not the engine's.
func cutNamespace(name string) (rest, namespace string, err error) {
	rest, query, ok := strings.Cut(name, "?")
	if !ok {
		return name, "", nil
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return "", "", fmt.Errorf("%w: what follows the ? is not escaped as it must be", ErrName)
	}
	namespace = values.Get("namespace")
	values.Del("namespace")
	if len(values) > 0 {
		rest += "?" + values.Encode()
	}
	return rest, namespace, nil
}

// Redact returns the name of a store, or any URL, without what may be secret.
func Redact(name string) string {
	scheme, rest, isURL := strings.Cut(name, "://")
	if !isURL {
		return name
	}
	rest, _, hasQuery := strings.Cut(rest, "?")
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		rest = "redacted" + rest[at:]
	}
	if hasQuery {
		rest += "?redacted"
	}
	return scheme + "://" + rest
}
