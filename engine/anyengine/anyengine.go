// Package anyengine opens the engine on a store that is named by a URL, as the
// command and configuration files do.
package anyengine

import (
	"cmp"
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
	"github.com/watermarkchurch/toot-go/engine/pgengine"
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
	// Namespace and RedisNamespace are used on Redis unless the name of the
	// store has them, see redisengine.Options. On PostgreSQL the namespace is the
	// schema.
	Namespace      string
	RedisNamespace string
	// Retention is how long the store is to remember what is over. Zero fields
	// leave what it has, see engine.Retention.
	Retention engine.Retention
	Logger    *slog.Logger
}

// Help says what names of stores look like.
const Help = "sqlite:PATH, redis://HOST[:PORT][/DB][?namespace=NAME] or postgres://HOST[:PORT]/DATABASE[?schema=NAME]"

// ErrName is returned for a name that is none of a store's.
var ErrName = errors.New("not the name of a store")

// openTimeout bounds how long a server is waited for.
const openTimeout = 10 * time.Second

// Open opens a store by its name: "sqlite:PATH", a path that has a slash in it or
// ends in .db, a URL as package redisengine takes it, which may have two settings
// more, ?namespace=… and ?redis_namespace=…, or one as package pgengine takes it,
// which may have the setting ?schema=….
func Open(ctx context.Context, name string, o Options) (Store, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if path, ok := sqlitePath(name); ok {
		return openSQLite(path, o)
	}
	scheme, _, isURL := strings.Cut(name, "://")
	if isURL && isRedis(scheme) {
		return openRedis(ctx, name, o)
	}
	if isURL && isPostgres(scheme) {
		return openPostgres(ctx, name, o)
	}
	if name == "" {
		return nil, fmt.Errorf("%w: it is empty; name one with --store or TOOT_STORE: %s", ErrName, Help)
	}
	if !isURL && hasScheme(name) {
		return nil, fmt.Errorf("%w: there is no :// in it; expected %s", ErrName, Help)
	}
	return nil, fmt.Errorf("%w: %q; expected %s", ErrName, Redact(name), Help)
}

func sqlitePath(name string) (path string, ok bool) {
	for _, prefix := range []string{"sqlite://", "sqlite:"} {
		if path, ok := strings.CutPrefix(name, prefix); ok {
			return path, true
		}
	}
	if hasScheme(name) {
		return "", false
	}
	return name, strings.ContainsRune(name, filepath.Separator) || strings.HasSuffix(name, ".db")
}

// hasScheme reports a name that begins like a URL, with or without the slashes:
// "redis:/:password@host" is none of a file's. A single letter is a drive.
func hasScheme(name string) bool {
	scheme, _, ok := strings.Cut(name, ":")
	return ok && len(scheme) > 1 && !strings.ContainsFunc(scheme, func(r rune) bool {
		return (r|0x20 < 'a' || r|0x20 > 'z') && (r < '0' || r > '9') && r != '+' && r != '-' && r != '.'
	})
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
	name, settings, err := cutSettings(name, redisSettings...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, openTimeout, errNoAnswer)
	defer cancel()
	e, err := redisengine.Open(ctx, name, &redisengine.Options{
		Namespace: cmp.Or(settings.Get("namespace"), o.Namespace), RedisNamespace: cmp.Or(settings.Get("redis_namespace"), o.RedisNamespace),
		Retention: o.Retention, Logger: o.Logger,
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

func openPostgres(ctx context.Context, name string, o Options) (Store, error) {
	name, settings, err := cutSettings(name, "schema")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, openTimeout, errNoAnswer)
	defer cancel()
	e, err := pgengine.Open(ctx, name, &pgengine.Options{Schema: cmp.Or(settings.Get("schema"), o.Namespace), Retention: o.Retention, Logger: o.Logger})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// redisSettings are those of a store's name on Redis that are not the connection's.
var redisSettings = []string{"namespace", "redis_namespace"}

// cutSettings takes settings out that are not those of the connection.
func cutSettings(name string, cut ...string) (rest string, settings url.Values, err error) {
	rest, query, ok := strings.Cut(name, "?")
	if !ok {
		return name, nil, nil
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return "", nil, fmt.Errorf("%w: what follows the ? is not escaped as it must be", ErrName)
	}
	settings = url.Values{}
	for _, setting := range cut {
		if values.Has(setting) {
			settings.Set(setting, values.Get(setting))
			values.Del(setting)
		}
	}
	if len(values) > 0 {
		rest += "?" + values.Encode()
	}
	return rest, settings, nil
}

// shownSettings are those of a store's name that are no secret.
var shownSettings = []string{"namespace", "redis_namespace", "sentinel_user", "skip_verify", "schema", "sslmode", "pool_max_conns", "application_name"}

// Redact returns the name of a store, or any URL, without what may be secret:
// user and password, and whatever follows a ? but the settings of a store that
// are none; "(not a URL)" if that can't be told apart.
func Redact(name string) string {
	scheme, rest, isURL := strings.Cut(name, "://")
	if !isURL {
		if _, isPath := sqlitePath(name); !isPath && strings.ContainsAny(name, "@?:%") {
			return "(not a URL)"
		}
		return name
	}
	shown, query, hasQuery := strings.Cut(rest, "?")
	at := strings.LastIndexByte(shown, '@')
	switch {
	case at >= 0:
		shown = "redacted" + shown[at:]
	case strings.Contains(query, "@"): // that may be the end of a password with a ? in it
		return scheme + "://redacted"
	}
	if hasQuery {
		shown += "?" + redactQuery(query, isRedis(scheme) || isPostgres(scheme))
	}
	return scheme + "://" + shown
}

func redactQuery(query string, isStore bool) string {
	values, err := url.ParseQuery(query)
	if err != nil || !isStore {
		return "redacted"
	}
	shown := url.Values{}
	for _, setting := range shownSettings {
		if values.Has(setting) {
			shown.Set(setting, values.Get(setting))
			values.Del(setting)
		}
	}
	switch {
	case len(values) == 0:
		return shown.Encode()
	case len(shown) == 0:
		return "redacted"
	}
	return shown.Encode() + "&redacted"
}

func isRedis(scheme string) bool {
	return strings.HasPrefix(scheme, "redis") || strings.HasPrefix(scheme, "valkey")
}

func isPostgres(scheme string) bool { return scheme == "postgres" || scheme == "postgresql" }
