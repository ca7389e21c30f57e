package sqliteengine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"time"
)

// An engine goes on working on the files that it has open when somebody removes
// them, or puts others in their places, and what it wrote would be lost with the
// process. So what lies at their paths is compared with what was opened, once a
// second. While it differs, calls that take something in fail, and what has
// been taken in is worked off. The files are only looked at: to open the
// database file beside SQLite, and close it, would give up SQLite's locks.

// compareEvery is how often the files are compared.
const compareEvery = time.Second

// laid are the files of an engine as they lay when it opened them.
type laid struct {
	path  string
	files map[string]fs.FileInfo // by suffix
	gone  atomic.Pointer[errGone]
	stop  chan struct{}
}

// laidSuffixes are the files that are compared: the database and what goes with it.
var laidSuffixes = []string{"", logSuffix, indexSuffix, lockSuffix}

// errGone is the error of calls that take something in while a file is gone.
type errGone struct {
	file, how string
	// shared is whether the database file is there, but another log beside it:
	// somebody else works on it without knowing of this engine, so that this one
	// must not write at all.
	shared bool
}

func (e *errGone) Error() string {
	return fmt.Sprintf("%s was %s while this process had it open: nothing new is taken in; stop the process, and start it again when the files are as they should be", e.file, e.how)
}

// note notes which files were opened. The log must have been opened, too.
func (l *laid) note(path string) error {
	l.path, l.files = path, map[string]fs.FileInfo{}
	for _, suffix := range laidSuffixes {
		info, err := os.Stat(path + suffix)
		if err != nil {
			return err
		}
		os.SameFile(info, info) // on Windows it finds out now which file that is
		l.files[suffix] = info
	}
	return nil
}

// compare returns an error if what lies at one of the paths is not what was
// opened. A file that can't be looked at is taken to be there.
func (l *laid) compare() *errGone {
	var gone *errGone
	for _, suffix := range laidSuffixes {
		info, err := os.Stat(l.path + suffix) //nolint:gosec // the caller of Open chooses the path
		removed := errors.Is(err, fs.ErrNotExist)
		if !removed && (err != nil || os.SameFile(info, l.files[suffix])) {
			continue
		}
		how := "replaced by another file"
		if removed {
			how = "removed"
		}
		ofLog := suffix == logSuffix || suffix == indexSuffix
		switch {
		case gone == nil:
			gone = &errGone{file: l.path + suffix, how: how, shared: ofLog && !removed}
		case gone.file != l.path:
			gone.shared = gone.shared || ofLog && !removed
		}
	}
	return gone
}

// refuses returns the error of a call while a file is gone. anyway is whether it
// is for what was taken in before.
func (l *laid) refuses(anyway bool) error {
	if gone := l.gone.Load(); gone != nil && (gone.shared || !anyway) {
		return gone
	}
	return nil
}

// compareFiles compares them until stop is closed. The log is told once when
// they are gone, and once when they are back.
func (e *Engine) compareFiles() {
	ticker := time.NewTicker(compareEvery)
	defer ticker.Stop()
	for {
		select {
		case <-e.laid.stop:
			return
		case <-ticker.C:
		}
		before, now := e.laid.gone.Load(), e.laid.compare()
		e.laid.gone.Store(now)
		switch {
		case before == nil && now != nil:
			e.log.Error("a file of the store is gone: nothing new is taken in, what has been is worked off", "file", e.path, "error", now)
		case before != nil && now == nil:
			e.log.Info("the files of the store are back", "file", e.path)
		}
	}
}
