package sqliteengine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/gofrs/flock"

	"github.com/watermarkchurch/toot-go/engine/sqliteengine/internal/sqlite"
)

// Every open engine holds the lock file beside the database file, shared with
// the others. Who gets it exclusively knows that the processes that had the file
// open before have ended.

const (
	lockTries = 50 // how often to begin again when others come and go meanwhile
	lockPause = 20 * time.Millisecond
)

var (
	errRemoved = errors.New("it is not there, but a process that still runs has it open: stop that process first")
	errMoved   = errors.New("a process that still runs has it open by another path, or its log was removed: stop that process first")
)

// enter takes the lock, creates the database file if it is not there, and
// reports whether nobody else has it open, in which case the lock is exclusive.
//
// Turning the lock into a shared one later is not atomic, and somebody who opens
// the file in between believes to be alone too. That does no harm: this
// engine has not leased anything before Open returns, and Open does not
// return before the other one has finished.
func (e *Engine) enter() (alone bool, err error) {
	for range lockTries {
		locked, exclusive, err := e.tryLock()
		switch {
		case err != nil:
			return false, err
		case locked && exclusive && !exist(e.path):
			return true, create(e.path)
		case locked && exclusive && !inUse(e.path):
			return true, nil
		case locked && exist(e.path, e.path+logSuffix, e.path+indexSuffix):
			return false, nil
		case locked:
			// Perhaps the others are just closing it, or have failed to create it.
			_ = e.lock.Close()
		}
		time.Sleep(lockPause)
	}
	if !exist(e.path) {
		return false, errRemoved
	}
	return false, errMoved
}

// tryLock takes the lock, exclusively if nobody has it; else it waits until
// nobody has it exclusively. If the lock file is another one by then, it is not
// locked.
func (e *Engine) tryLock() (locked, exclusive bool, err error) {
	name := e.path + lockSuffix
	if err := prepareLock(name, e.path); err != nil {
		return false, false, err
	}
	e.lock = flock.New(name, flock.SetFlag(os.O_RDONLY|noFollow))
	exclusive, err = e.lock.TryLock()
	if err == nil && !exclusive {
		err = e.lock.RLock()
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, false, nil
	}
	if err != nil {
		return false, false, fmt.Errorf("its lock file cannot be locked: %w", err)
	}
	mine, err := e.lock.Stat()
	if err != nil {
		return false, false, err
	}
	if there, err := os.Stat(name); err != nil || !os.SameFile(mine, there) {
		return false, false, e.lock.Close()
	}
	return true, exclusive, nil
}

// prepareLock makes sure that there is a lock file, with owner and mode of the
// database file. Without one it is its creator's alone, as that will be.
func prepareLock(name, database string) error {
	f, err := os.OpenFile(name, os.O_RDONLY|os.O_CREATE|os.O_EXCL|noFollow, createMode) //nolint:gosec // the caller of Open chooses the path
	if errors.Is(err, fs.ErrExist) {
		f, err = os.OpenFile(name, os.O_RDONLY|noFollow, 0) //nolint:gosec // the same
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // it was just removed: the caller sees it, too
		case err != nil:
			return fmt.Errorf("its lock file cannot be opened: give %s the owner, the group and the mode of the database file: %w", name, err)
		}
	}
	if err != nil {
		return fmt.Errorf("its lock file cannot be made: check the permissions of the folder: %w", err)
	}
	defer func() { _ = f.Close() }() // nothing was written
	if info, err := os.Stat(database); err == nil {
		follow(f, info)
	}
	return nil
}

// inUse asks SQLite whether somebody has the file open, with whichever lock
// file: there may be another one because the first was removed. What goes wrong
// otherwise, Open meets again.
func inUse(path string) bool {
	c, err := openConn(path, sqlite.Existing, nil)
	if err != nil {
		return false
	}
	// Every connection to a file with a log holds a lock on the file that is
	// shared. Who wants to have the log alone needs it exclusively.
	err = c.exec("PRAGMA locking_mode = EXCLUSIVE; SELECT count(*) FROM sqlite_schema")
	_ = c.close()
	return sqlite.HasCode(err, sqlite.Busy)
}
