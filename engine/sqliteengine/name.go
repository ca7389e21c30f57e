package sqliteengine

import (
	"errors"
	"fmt"
	"strings"
)

// checkName refuses what is a name elsewhere, of a database in memory, of a
// store or with settings in it, and would make a file that is called so. It does
// not repeat URLs, which may hold passwords.
func checkName(name string) error {
	lower := strings.ToLower(name)
	rest, settings, hasSettings := strings.Cut(lower, "?")
	hasSettings = hasSettings && strings.Contains(settings, "=")
	scheme := ""
	for _, s := range []string{"sqlite:", "sqlite3:", "file:"} {
		if strings.HasPrefix(lower, s) {
			scheme = s
		}
	}
	switch {
	case rest == scheme+":memory:", hasSettings && strings.Contains(settings, "mode=memory"):
		return fmt.Errorf("%q is no file: for a store in memory, in tests, use package engine/memengine, or toottest", name)
	case scheme != "" || hasSettings:
		path := name[len(scheme):]
		path, _, _ = strings.Cut(path, "?")
		if strings.HasPrefix(path, "///") {
			path = path[2:]
		}
		return fmt.Errorf("%q is not the path of a file: give that alone, such as %q (package engine/anyengine opens a store by its URL; a file that is called so is %q)", name, strings.TrimPrefix(path, "//"), "./"+name)
	case strings.Contains(name, "://"):
		return errors.New("it is a URL, not the path of a file: package engine/anyengine opens a store by its URL")
	}
	return nil
}
