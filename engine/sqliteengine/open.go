// Package sqliteengine keeps toot's subscribers and jobs in one SQLite file,
// in the process itself: no server, no cgo.
//
//	store, err := sqliteengine.Open("shop.db", nil)
//	app, err := toot.New(store, nil)
//
// Several processes of one machine may open the same file, by any path. What a
// method has written when it returns survives a power failure (WAL mode,
// synchronous FULL). SQLite keeps two files beside it, "-wal" and "-shm", and
// the engine an empty one, "-lock", which shows whether anybody else has the
// file open. They must be on a local disk, not on a network file system.
//
// A new file has mode 0600. The files beside it get its owner, group and mode.
//
// If one of these files is removed or replaced while an engine has it open,
// the methods that accept something new (Push, AddSubscriber and so on) and Ping
// fail within a second, until it is back, and one error is logged. Claim and
// Settle go on with what was accepted before, unless another log is there.
//
// Times are by the file's own clock, which no jump of wall time moves, as package
// engine describes. A file of an older version is upgraded when it is opened;
// processes of that version that have it open get an error from then on.
//
// Memory does not grow with what is waiting. The file does not shrink, but uses
// free pages again: giving them back to the system would make every write more
// expensive. To shrink it, run VACUUM by hand while no toot process has it open.
package sqliteengine

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine/internal/sqlite"
)

// Options are what Open can be told. The zero value is fine.
type Options struct {
	// Retention is how long the file is to remember what is over. Zero fields
	// leave what the file has; the others are written into it with the first
	// Claim, see engine.Retention.
	Retention engine.Retention
	// Logger is told what an operator may want to know, such as jobs taken
	// back from a process that died. Default: nobody.
	Logger *slog.Logger

	// Time is for tests that set the clock: it returns wall time, and a time
	// that goes on evenly. It may be called concurrently. Default: the
	// machine's.
	Time func() (wall time.Time, monotonic time.Duration)

	vfs func() (*sqlite.VFS, error) // for tests; default: sqlite.Gathering
}

// Engine is an engine.Engine on one SQLite file, with dead letters and
// inspection. Its methods may be called concurrently.
type Engine struct {
	path   string           // absolute, without symbolic links
	wanted engine.Retention // see retain
	log    *slog.Logger
	clock  *clock
	salt   [saltSize]byte // see identity
	lock   *flock.Flock
	laid   laid
	vfs    *sqlite.VFS // nil: SQLite's own

	queue   queue
	writer  *writer
	subs    subscriberCache
	reads   reader // Channels, Dead, Lanes
	hints   hinter
	running sync.WaitGroup // the goroutines of writer and hints
	closing sync.Once
	closed  error

	retained atomic.Bool // what is wanted has been written
}

var (
	_ engine.Engine      = (*Engine)(nil)
	_ engine.DeadLetters = (*Engine)(nil)
	_ engine.Inspector   = (*Engine)(nil)
	_ engine.Credentials = (*Engine)(nil)
	_ engine.Attributes  = (*Engine)(nil)
	_ engine.Memory      = (*Engine)(nil)
	_ engine.Retainer    = (*Engine)(nil)
)

var (
	errForeign = errors.New("it is a database of another program: choose another path")
	errNewer   = errors.New("it was written by a newer toot: use that one")
)

const (
	// busyTimeout is how long a call waits for another process's write.
	busyTimeout = 10 * time.Second
	// Memory for pages, in KiB: of the writing connection and of each of the
	// two that read.
	writeCache, readCache = 16 << 10, 2 << 10
	// maxWAL is the size to which the write-ahead log is cut once a
	// checkpoint has emptied it.
	maxWAL = 64 << 20
	// checkpointPages is how long the log grows before what it holds is copied
	// to the file, pages that were written many times but once: 16 MiB.
	checkpointPages = 4000
)

// Open opens the file, or creates it; its folder must exist. opts may be nil.
//
// The path is nothing but a path. ":memory:", URLs such as "file:toot.db" or
// "sqlite:toot.db" and settings ("toot.db?mode=ro") are errors, so that no file
// is made that is called so; one that is can be opened as "./:memory:".
//
// If nobody else has the file open, jobs leased by a process that died are due
// at once: their owner will not come back for them. If others have it open and
// wall time does not fit what it says, Open waits, for two seconds at most, for
// one of them to tell the time. It is an error if somebody
// has it open by another path that is no symbolic link, or if it, or its log,
// was removed under a process that still runs.
func Open(path string, opts *Options) (*Engine, error) {
	if opts == nil {
		opts = &Options{}
	}
	if err := checkName(path); err != nil {
		return nil, fmt.Errorf("sqliteengine: open: %w", err)
	}
	e := &Engine{
		path:   path,
		wanted: opts.Retention,
		log:    opts.Logger,
		clock:  newClock(opts.Time),
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	vfs := opts.vfs
	if vfs == nil {
		vfs = sqlite.Gathering
	}
	if err := e.open(vfs); err != nil {
		_ = e.release()
		return nil, e.explain("open", err)
	}
	e.start()
	return e, nil
}

func (e *Engine) open(vfs func() (*sqlite.VFS, error)) error {
	if e.path == "" {
		return errors.New("the path is empty: name a file")
	}
	// An absolute path also keeps SQLite from giving a meaning of its own to a
	// file that is called ":memory:".
	path, err := filepath.Abs(e.path)
	if err != nil {
		return err
	}
	e.path = path
	if path, err = resolve(path); err != nil {
		return err
	}
	e.path = path
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return errors.New("it is a folder: name a file")
	}
	alone, err := e.enter()
	if err != nil {
		return err
	}
	var slow error // why commits are not gathered
	e.vfs, slow = vfs()
	write, err := e.connect(sqlite.Create, writeCache)
	if err != nil {
		return err
	}
	e.writer = newWriter(e, write)
	if err := prepareFile(write); err != nil {
		return err
	}
	if slow == nil {
		slow = write.GatherCommits()
	}
	if slow != nil {
		e.log.Warn("commits take more processor time: SQLite writes them page by page", "file", e.path, "reason", slow)
	}
	if err := e.readSalt(write); err != nil {
		return err
	}
	if e.subs.c, err = e.connect(sqlite.Existing, readCache); err != nil {
		return err
	}
	if e.reads.c, err = e.connect(sqlite.Existing, readCache); err != nil {
		return err
	}
	e.reads.free = make(chan struct{}, 1)
	if !alone {
		if err := e.writer.awaitTime(); err != nil {
			return err
		}
	}
	orphans, err := e.writer.enter(alone)
	if err != nil {
		return err
	}
	if orphans > 0 {
		e.log.Info("took back jobs of a process that died", "file", e.path, "jobs", orphans)
	}
	if err := e.laid.note(e.path); err != nil {
		return err
	}
	file := e.laid.files[""]
	shareLog(e.path, file)
	if openToAll(file) {
		e.log.Warn("every user of the machine can read the store, or change it: take that from the mode of the file; what lies beside it follows when it is opened next", "file", e.path, "mode", file.Mode())
	}
	// From here on the writer waits for locks itself, see begin.
	write.busyTimeout(0)
	// The lock becomes shared only now: who finds it exclusive waits, so that
	// nobody's fresh lease is taken for an orphan.
	return e.lock.RLock()
}

// connect opens a connection. Pages are checkpointed by the writer's commits.
func (e *Engine) connect(flags sqlite.Flags, cacheKiB int) (*conn, error) {
	c, err := openConn(e.path, flags, e.vfs)
	if err != nil {
		return nil, err
	}
	c.busyTimeout(busyTimeout)
	if c.IsReadOnly() {
		err = &sqlite.Error{Code: sqlite.ReadOnly, Message: "read-only"}
	} else {
		err = c.exec(fmt.Sprintf(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;
			PRAGMA cache_size = -%d; PRAGMA journal_size_limit = %d; PRAGMA wal_autocheckpoint = %d`, cacheKiB, maxWAL, checkpointPages))
	}
	if err != nil {
		_ = c.close()
		return nil, err
	}
	return c, nil
}

// Close implements engine.Engine.
func (e *Engine) Close() error {
	e.closing.Do(func() {
		e.queue.close()
		e.hints.close()
		close(e.laid.stop)
		e.running.Wait()
		e.closed = errors.Join(e.explain("close", e.writer.leave()), e.release())
		e.laid.gone.Store(nil) // what is closed says that it is
	})
	return e.closed
}

// release closes whatever open has opened. The last connection to a file
// that closes checkpoints it and removes the log, by its name: where another
// log lies by now, it must not. (Where the database file has gone, SQLite does
// not do it.)
func (e *Engine) release() error {
	var errs []error
	leaveLog := false
	if e.laid.files != nil {
		gone := e.laid.compare()
		leaveLog = gone != nil && gone.shared
	}
	errs = append(errs, e.subs.close(leaveLog), e.reads.close(leaveLog))
	if e.writer != nil {
		errs = append(errs, closeConn(e.writer.c, leaveLog))
	}
	if e.lock != nil {
		errs = append(errs, e.lock.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return e.explain("close", err)
	}
	return nil
}

func closeConn(c *conn, leaveLog bool) error {
	if leaveLog {
		c.LeaveLog()
	}
	return c.close()
}

// explain turns an error into a sentence that names the file and says what
// to do.
func (e *Engine) explain(call string, err error) error {
	if err == nil || errors.Is(err, engine.ErrClosed) || errors.Is(err, engine.ErrInvalid) {
		return err
	}
	advice := ""
	switch {
	case sqlite.HasCode(err, sqlite.Full):
		advice = "no room is left on its disk: make some, and the next call succeeds"
	case sqlite.HasCode(err, sqlite.NotADB):
		advice = "it is not an SQLite database: choose another path"
	case sqlite.HasCode(err, sqlite.Corrupt):
		advice = "it is damaged: restore it, or move it away together with its -wal file"
	case sqlite.HasCode(err, sqlite.ReadOnly):
		advice = "it cannot be written to: check the permissions of the file and of its folder"
	case sqlite.HasCode(err, sqlite.CantOpen, sqlite.Perm):
		advice = "it cannot be opened: check the path and the permissions"
	case sqlite.HasCode(err, sqlite.Busy, sqlite.Locked):
		advice = fmt.Sprintf("another process kept it locked for %v: try again", busyTimeout)
	case sqlite.HasCode(err, sqlite.TooBig):
		advice = "an event is larger than SQLite can store"
	}
	if advice == "" {
		return fmt.Errorf("sqliteengine: %s %s: %w", call, e.path, err)
	}
	return fmt.Errorf("sqliteengine: %s %s: %s: %w", call, e.path, advice, err)
}
