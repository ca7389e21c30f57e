package pgengine

import (
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// never is the due time of a lane without jobs.
const never = int64(1) << 62

// All times are microseconds since 1970 by the store's clock (see clock.go). All
// names, IDs and values are bytea: they may hold any bytes, and sort by them,
// whatever the database's encoding and collation.
//
// What a job costs is mostly the number of rows and index entries it touches, and
// of statements it takes. Therefore:
//
//   - a job's event lies in its row; only an event that several jobs share has one
//     in events.
//   - jobs has one index, by (lane, due, seq): the due jobs of a lane are its first
//     entries. A claim moves a job to the end of its lease.
//   - a ticket holds the place of the row (its ctid), so that settling looks
//     nothing up.
//   - lanes.next is at most the earliest due time in the lane, and where a claim
//     begins to read. Whoever stores a job that is due earlier lowers it; it is
//     raised by the keeper alone, see floor.go.
//   - lanes.jobs is written by the keeper alone, too, see counts.go.
//   - seen remembers jobs for the dedupe window, see seen.go.
//
// migrations[v-1] makes a schema of version v-1 one of version v. In their text
// "toot." stands for the schema.
var migrations = []string{`
CREATE TABLE toot.state (
	id smallint PRIMARY KEY CHECK (id = 1),
	version integer NOT NULL,
	needs integer NOT NULL,             -- the oldest version of a program that may use the schema
	salt bytea NOT NULL,                -- of identities
	clock_offset bigint NOT NULL,       -- what is added to the server's time, see clock.go
	clock_noted bigint NOT NULL,        -- a time that the store's clock has shown
	gen bigint NOT NULL,                -- goes up when seen is rotated and when lanes are deleted
	gen_start bigint NOT NULL,          -- since when seen's generation is written
	subscribers bigint NOT NULL,        -- counts changes of that table, see audience.go
	keeper bytea,                       -- who keeps house, see keeper.go
	keeper_until bigint NOT NULL,
	dedupe bigint, dead_age bigint, dead_max bigint -- see retention.go
) WITH (fillfactor = 50);
INSERT INTO toot.state VALUES (1, 0, 0, decode(replace(gen_random_uuid()::text, '-', ''), 'hex'), 0, 0, 0, 0, 1, NULL, 0, NULL, NULL, NULL);
CREATE SEQUENCE toot.numbers INCREMENT 65536;
CREATE TABLE toot.processes (id bytea PRIMARY KEY, seen bigint NOT NULL) WITH (fillfactor = 50);
CREATE TABLE toot.lanes (
	id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY, -- never used twice: seen refers to it
	kind smallint NOT NULL,
	name bytea NOT NULL,
	next bigint NOT NULL,     -- no job is due earlier
	deferred bigint NOT NULL, -- nobody claims before
	idle bigint NOT NULL,     -- when it was last found without jobs, or made
	jobs bigint NOT NULL DEFAULT 0, -- how many it has, but for what is in counts
	UNIQUE (kind, name)
) WITH (fillfactor = 30, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);
CREATE TABLE toot.jobs (
	lane bigint NOT NULL,
	due bigint NOT NULL,      -- of a leased job: when the lease ends
	seq bigint NOT NULL,      -- its number
	token bigint NOT NULL,    -- of the claim; 0: not leased
	claims integer NOT NULL,
	attempt integer NOT NULL,
	pushed bigint NOT NULL,
	event bigint NOT NULL,    -- of events; 0: what follows is the event
	history bytea,
	id bytea, channel bytea, replay bytea, meta bytea, body bytea
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
CREATE UNIQUE INDEX jobs_lane ON toot.jobs (lane, due, seq);
CREATE INDEX jobs_event ON toot.jobs (event) WHERE event <> 0;
CREATE TABLE toot.counts (lanes bigint[] NOT NULL, jobs bigint[] NOT NULL); -- how many more jobs lanes have, see counts.go
CREATE TABLE toot.events (seq bigint PRIMARY KEY, id bytea, channel bytea, replay bytea, meta bytea, body bytea);
CREATE TABLE toot.seen0 (key bytea PRIMARY KEY) WITH (autovacuum_vacuum_scale_factor = 0.5);
CREATE TABLE toot.seen1 (key bytea PRIMARY KEY) WITH (autovacuum_vacuum_scale_factor = 0.5);
CREATE TABLE toot.dead (
	seq bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	at bigint NOT NULL,
	kind smallint NOT NULL,
	lane bytea NOT NULL,
	id bytea, channel bytea, replay bytea,
	attempt integer NOT NULL,
	pushed bigint NOT NULL,
	reason bytea,
	history bytea, meta bytea, body bytea
);
CREATE INDEX dead_at ON toot.dead (at);
CREATE INDEX dead_lane ON toot.dead (kind, lane);
CREATE TABLE toot.subscribers (channel bytea, url bytea, added bigint NOT NULL, until bigint NOT NULL, PRIMARY KEY (channel, url));
CREATE TABLE toot.attributes (grp bytea, name bytea, value bytea NOT NULL, written bigint NOT NULL, until bigint NOT NULL, PRIMARY KEY (grp, name));
CREATE TABLE toot.credentials (realm bytea, username bytea, proof bytea NOT NULL, PRIMARY KEY (realm, username));
CREATE TABLE toot.memory (key bytea PRIMARY KEY, value bytea NOT NULL, until bigint NOT NULL);
`,
}

// DefaultSchema is the schema that is used unless the options name another.
const DefaultSchema = "toot"

// Schema returns the SQL that makes a schema as this version of the package has
// it, for those who have a tool of their own change their databases. The empty
// name stands for DefaultSchema. Run as one transaction on a database that has
// none of it, or after upgrading from the version of the schema that is given
// (0: none; the table "state" says which one a schema has).
func Schema(name string, from int) string { return schemaSQL(name, from, migrations) }

func schemaSQL(name string, from int, steps []string) string {
	if name == "" {
		name = DefaultSchema
	}
	quoted := pgx.Identifier{name}.Sanitize()
	var b strings.Builder
	if from <= 0 {
		fmt.Fprintf(&b, "CREATE SCHEMA IF NOT EXISTS %s;\n", quoted)
	}
	for v := max(from, 0); v < len(steps); v++ {
		fmt.Fprintf(&b, "%s\n", strings.ReplaceAll(strings.TrimSpace(steps[v]), "toot.", quoted+"."))
	}
	fmt.Fprintf(&b, "UPDATE %s.state SET version = %d;\n", quoted, len(steps))
	return b.String()
}
