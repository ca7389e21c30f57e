package main_test

import (
	"testing"

	"github.com/watermarkchurch/toot-go/inbox"
	"github.com/watermarkchurch/toot-go/outbox"
)

// TestSchemaIsPrinted: what the packages say, and nothing else, so that it can be
// put into a file.
func TestSchemaIsPrinted(t *testing.T) {
	for _, dialect := range []string{"postgres", "mysql", "sqlite"} {
		want, err := outbox.Schema(outbox.Dialect(dialect), "")
		if r := command(t, "outbox", "schema", "--dialect", dialect); err != nil || r.code != 0 || r.stdout != want {
			t.Errorf("%d %v %s%s", r.code, err, r.stdout, r.stderr)
		}
		want, err = inbox.Schema(inbox.Dialect(dialect), "shop.seen")
		if r := command(t, "inbox", "schema", "--dialect", dialect, "--table", "shop.seen"); err != nil || r.code != 0 || r.stdout != want {
			t.Errorf("%d %v %s%s", r.code, err, r.stdout, r.stderr)
		}
	}
	for _, args := range [][]string{{}, {"--dialect", "oracle"}, {"--dialect", "sqlite", "--table", "a;b"}} {
		if r := command(t, append([]string{"outbox", "schema"}, args...)...); r.code != 2 || r.stdout != "" {
			t.Errorf("%q: %d %s", args, r.code, r.stdout)
		}
	}
}
