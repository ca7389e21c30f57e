//nolint:gosec // Flags of the library's.
package sqlite

import (
	"errors"
	"fmt"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// trialRows is what the trial's commit writes: some 20 pages.
const trialRows = 20

// trial has a commit gathered on a database in memory, through a VFS of its own
// on top of the library's one for that, and looks at what has become of it.
// After a panic nothing is closed: who knows in which state it is.
func trial(memory uintptr) error {
	vfs, err := register("toot-trial", memory, callback(trialOpen))
	if err != nil {
		return err
	}
	c, err := Open("trial", Create, vfs)
	if err == nil {
		err = errors.Join(trialCommit(c), c.Close())
	}
	vfs.unregister()
	return err
}

func trialCommit(c *Conn) error {
	// Without shared memory, which only files have, a log takes the exclusive
	// mode.
	err := c.Exec(`PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
		CREATE TABLE t (i INTEGER PRIMARY KEY, x TEXT)`)
	for _, step := range []func() error{c.GatherCommits, c.trialWrite, c.trialRead} {
		if err == nil {
			err = step()
		}
	}
	return err
}

// trialWrite commits some rows, which must be in the log then, in one write.
func (c *Conn) trialWrite() error {
	err := c.Exec(fmt.Sprintf(`BEGIN; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < %d)
		INSERT INTO t SELECT i, printf('%%3000d', i) FROM n`, trialRows))
	if err != nil {
		return err
	}
	before := c.log.flushes
	c.log.gathering = true
	err = c.Exec("COMMIT")
	c.log.gathering = false
	switch writes := c.log.flushes - before; {
	case err != nil:
		return err
	case c.log.n > 0:
		return errors.New("SQLite ended a commit without a sync of the log")
	case writes != 1:
		return fmt.Errorf("a commit was written to the log in %d pieces", writes)
	}
	return nil
}

// trialRead looks for the rows. Without the pages that it has in memory,
// SQLite must find them in the log, and then in the file.
func (c *Conn) trialRead() error {
	for _, forget := range []string{"PRAGMA shrink_memory", "PRAGMA wal_checkpoint(TRUNCATE); PRAGMA shrink_memory"} {
		if err := c.Exec(forget); err != nil {
			return err
		}
		n, err := c.QueryInt("SELECT count(*) FROM t WHERE x = printf('%3000d', i)")
		if err != nil {
			return err
		}
		if n != trialRows {
			return fmt.Errorf("%d of %d rows are there after a commit", n, trialRows)
		}
	}
	return nil
}

// trialOpen is the xOpen of the trial's VFS. It keeps from SQLite that files
// are in memory: it makes no log for such a database.
func trialOpen(tls *libc.TLS, vfs, name, file uintptr, flags int32, outFlags uintptr) int32 {
	rc := vfsOpen(tls, vfs, name, file, flags, outFlags)
	if outFlags != 0 {
		*at[int32](outFlags) &^= sqlite3.SQLITE_OPEN_MEMORY
	}
	return rc
}
