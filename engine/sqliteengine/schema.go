package sqliteengine

import (
	"fmt"
	"math"
	"strings"
)

const (
	// applicationID is "toot" in ASCII. It tells our files from other SQLite
	// databases.
	applicationID = 0x746f6f74
	// schemaVersion is what this code reads and writes.
	schemaVersion = 4
	// never is the due time of a lane without jobs.
	never = math.MaxInt64 >> 1
	// bulk is how many rows one statement writes at most: those of nums.
	bulk = 1024
)

// All times are microseconds since 1970 by the store's clock (see clock.go), all
// durations are added in Go.
//
// What a job costs is mostly the number of b-trees it touches and of
// statements it takes. Therefore:
//
//   - jobs is keyed by (lane, due, seq): the due jobs of a lane are its first
//     rows, and jobs written together lie together, so that a batch is written,
//     claimed and deleted by ranges. A claim moves a job to the end of its
//     lease; the key is the ticket, and a stale one simply meets no row.
//   - an event's bytes are not moved with its jobs, and only an event with
//     several jobs has a count in refs.
//   - lanes.next is at most the earliest due time in the lane. It is lowered
//     with every job that is due earlier and raised by a claim that finds it
//     too low, so that a claim meets ready lanes in order without looking at
//     the others.
//   - jobs and events have no NOT NULL, which SQLite checks for each column of
//     each row. Only this package writes them.
//   - nums holds 0 to 1023: INSERT … SELECT from it writes a run of rows in
//     one statement, for a third of the price of one statement a row.
//
// This is version 1, as later versions found it; upgrades add what came later.
const schema = `
CREATE TABLE meta (
	id INTEGER PRIMARY KEY CHECK (id = 1),
	subscribers INTEGER NOT NULL,  -- counts changes of that table
	gen INTEGER NOT NULL,          -- which of seen0 and seen1 is written
	gen_start INTEGER NOT NULL,    -- since when
	carry_lane INTEGER, carry_due INTEGER, carry_seq INTEGER -- see seen.go
);
INSERT INTO meta VALUES (1, 1, 0, 0, NULL, NULL, NULL);
CREATE TABLE owners (id INTEGER PRIMARY KEY AUTOINCREMENT); -- engines that are open, or died
CREATE TABLE subscribers (channel TEXT NOT NULL, url TEXT NOT NULL, PRIMARY KEY (channel, url)) WITHOUT ROWID;
CREATE TABLE lanes (
	id INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: seen refers to it
	kind INTEGER NOT NULL,
	name TEXT NOT NULL,
	next INTEGER NOT NULL,     -- no job is due earlier
	deferred INTEGER NOT NULL, -- nobody claims before; 0: not deferred
	wake INTEGER NOT NULL,     -- the later of the two
	idle INTEGER NOT NULL,     -- when it was last found without jobs
	UNIQUE (kind, name)
);
CREATE INDEX lanes_wake ON lanes (kind, wake);
CREATE INDEX lanes_deferred ON lanes (kind, deferred) WHERE deferred > 0;
CREATE TABLE jobs (
	lane INTEGER,
	due INTEGER,     -- of a leased job: when the lease ends
	seq INTEGER,     -- its event
	token INTEGER,   -- of the claim, see newToken; 0: not leased
	claims INTEGER,
	attempt INTEGER,
	shared INTEGER,  -- whether the event has a row in refs
	pushed INTEGER,
	history BLOB,
	PRIMARY KEY (lane, due, seq)
) WITHOUT ROWID;
CREATE TABLE events (seq INTEGER PRIMARY KEY, id TEXT, channel TEXT, meta BLOB, body BLOB);
CREATE TABLE refs (seq INTEGER PRIMARY KEY, n INTEGER NOT NULL);
CREATE TABLE seen0 (key BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE seen1 (key BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE dead (
	seq INTEGER PRIMARY KEY AUTOINCREMENT,
	at INTEGER NOT NULL,
	kind INTEGER NOT NULL,
	lane TEXT NOT NULL,
	id TEXT NOT NULL,
	channel TEXT NOT NULL,
	attempt INTEGER NOT NULL,
	pushed INTEGER NOT NULL,
	reason TEXT NOT NULL,
	history BLOB,
	meta BLOB,
	body BLOB
);
CREATE INDEX dead_at ON dead (at);
CREATE INDEX dead_lane ON dead (kind, lane);
CREATE TABLE nums (i INTEGER PRIMARY KEY);
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM n WHERE i < 1023) INSERT INTO nums SELECT i FROM n;
`

// upgrades[v-1] makes a file of version v one of version v+1. A new file is
// made by schema and all of them.
var upgrades = []string{
	`
CREATE TABLE credentials (realm TEXT NOT NULL, username TEXT NOT NULL, proof BLOB NOT NULL, PRIMARY KEY (realm, username)) WITHOUT ROWID;
CREATE TABLE attributes (grp TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (grp, name)) WITHOUT ROWID;
`, `
CREATE TABLE memory (key TEXT PRIMARY KEY, value BLOB NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX memory_until ON memory (until);
`,
	// Version 4 has the state of the file in a table of another name. A program
	// of an older version reads meta at the beginning of each transaction, and
	// what it would write is wrong by now; what it meets is an error that says
	// so, as the view reads a table that does not exist. (ALTER TABLE … RENAME
	// takes offence at such a view: an upgrade that needs it drops the view first.)
	`
CREATE TABLE state (
	id INTEGER PRIMARY KEY CHECK (id = 1),
	subscribers INTEGER NOT NULL,  -- counts changes of that table, see audience.go
	gen INTEGER NOT NULL,          -- which of seen0 and seen1 is written
	gen_start INTEGER NOT NULL,    -- since when
	carry_lane INTEGER, carry_due INTEGER, carry_seq INTEGER, -- see seen.go
	old_keys INTEGER NOT NULL,     -- for how many generations seen has keys of version 3, see oldkeys.go
	salt BLOB NOT NULL,            -- see identity.go
	clock_offset INTEGER NOT NULL, -- what is added to wall time, see clock.go
	clock_jumps INTEGER NOT NULL,  -- how often that was changed
	clock_at INTEGER NOT NULL,     -- a time that the store's clock has shown
	recounts INTEGER NOT NULL      -- how often counts was made anew
);
INSERT INTO state SELECT 1, subscribers, gen, gen_start, carry_lane, carry_due, carry_seq,
	2 * (EXISTS (SELECT 1 FROM seen0) OR EXISTS (SELECT 1 FROM seen1)), randomblob(16), 0, 0, 0, 0 FROM meta;
DROP TABLE meta;
CREATE VIEW meta AS SELECT * FROM "` + upgraded + `";
ALTER TABLE events ADD COLUMN replay TEXT;
ALTER TABLE dead ADD COLUMN replay TEXT;
ALTER TABLE subscribers ADD COLUMN added INTEGER NOT NULL DEFAULT 0; -- 0: before this was kept
ALTER TABLE subscribers ADD COLUMN until INTEGER NOT NULL DEFAULT 0; -- 0: without end
CREATE INDEX subscribers_until ON subscribers (until) WHERE until > 0;
ALTER TABLE attributes ADD COLUMN written INTEGER NOT NULL DEFAULT 0; -- 0: before this was kept
ALTER TABLE attributes ADD COLUMN until INTEGER NOT NULL DEFAULT 0;   -- 0: without end
CREATE INDEX attributes_until ON attributes (until) WHERE until > 0;
ALTER TABLE owners ADD COLUMN uncounted INTEGER NOT NULL DEFAULT 0; -- since when it owes changes to counts; 0: it does not
CREATE TABLE counts (lane INTEGER PRIMARY KEY, jobs INTEGER NOT NULL); -- see counts.go
INSERT INTO counts SELECT lane, count(*) FROM jobs GROUP BY lane;
`,
}

// upgraded is the error of an older program whose file was upgraded meanwhile.
const upgraded = "this file was upgraded by a newer toot: restart this program with the newer one"

// prepareFile makes sure that the file is one of ours, creating the schema in
// an empty one and adding what an older version did not have.
func prepareFile(c *conn) error {
	if err := c.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() { _ = c.exec("ROLLBACK") }() // fails after COMMIT, which is fine
	app, err := c.queryInt("PRAGMA application_id")
	if err != nil {
		return err
	}
	version, err := c.queryInt("PRAGMA user_version")
	if err != nil {
		return err
	}
	tables, err := c.queryInt("SELECT count(*) FROM sqlite_schema")
	if err != nil {
		return err
	}
	switch {
	case app == 0 && version == 0 && tables == 0:
		sql := fmt.Sprintf("%s; %s; %s; PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
			schema, strings.Join(upgrades, ";"), retentionTable, applicationID, schemaVersion)
		return c.exec(sql)
	case app != applicationID:
		return errForeign
	case version > schemaVersion:
		return fmt.Errorf("%w (its version is %d, this program's %d)", errNewer, version, schemaVersion)
	case version < 1:
		return errForeign
	case version < schemaVersion:
		// All steps are one transaction: the file is of one version or the
		// other.
		sql := fmt.Sprintf("%s; %s; PRAGMA user_version = %d; COMMIT", strings.Join(upgrades[version-1:], ";"), retentionTable, schemaVersion)
		return c.exec(sql)
	}
	return c.exec(retentionTable + "; COMMIT")
}
