package anyengine

import (
	"cmp"
	"context"
	"strings"

	"github.com/watermarkchurch/toot-go/engine/pgengine"
)

const postgresForm = "postgres://HOST[:PORT]/DATABASE[?schema=NAME]"

var postgres = kind{
	isNamed: isPostgres,
	open:    openPostgres,
	shown:   []string{"schema", "sslmode", "pool_max_conns", "application_name"},
}

func isPostgres(name string) bool {
	scheme, _, isURL := strings.Cut(name, "://")
	return isURL && (scheme == "postgres" || scheme == "postgresql")
}

func openPostgres(ctx context.Context, name string, o *Options) (Store, error) {
	p, err := SplitPostgres(name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, openTimeout, errNoAnswer)
	defer cancel()
	e, err := pgengine.Open(ctx, p.URL, &pgengine.Options{Schema: cmp.Or(p.Schema, o.Namespace), Retention: o.Retention, Logger: o.Logger})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// Postgres is what the name of a store on PostgreSQL says.
type Postgres struct {
	URL    string // of the database, as pgengine.Open and pgx take it
	Schema string // ?schema=…, "" if there is none
}

// SplitPostgres takes the name of a store on PostgreSQL apart, for those who want
// to look at its database by themselves. Whether the URL is right is not looked at.
func SplitPostgres(name string) (Postgres, error) {
	rest, settings, err := cutSettings(name, "schema")
	if err != nil {
		return Postgres{}, err
	}
	return Postgres{URL: rest, Schema: settings.Get("schema")}, nil
}
