package anyengine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/watermarkchurch/toot-go/engine/sqliteengine"
)

const sqliteForm = "sqlite:PATH"

var sqlite = kind{
	isNamed: func(name string) bool { _, ok := sqlitePath(name); return ok },
	open:    openSQLite,
}

// sqlitePath returns the path of a file that is named, with or without a scheme.
func sqlitePath(name string) (path string, ok bool) {
	for _, prefix := range []string{"sqlite://", "sqlite:"} {
		if path, ok := strings.CutPrefix(name, prefix); ok {
			return path, true
		}
	}
	if hasScheme(name) {
		return "", false
	}
	return name, name == ":memory:" || strings.ContainsRune(name, filepath.Separator) || strings.HasSuffix(name, ".db")
}

func openSQLite(_ context.Context, name string, o *Options) (Store, error) {
	path, _ := sqlitePath(name)
	if path == "" {
		return nil, fmt.Errorf("%w: sqlite: needs the path of a file, such as sqlite:toot.db", ErrName)
	}
	if o.Existing && path != ":memory:" {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no store at %s, check the path: %w", path, fs.ErrNotExist)
		}
	}
	e, err := sqliteengine.Open(path, &sqliteengine.Options{Retention: o.Retention, Logger: o.Logger})
	if err != nil {
		return nil, err
	}
	return e, nil
}
