package sqliteengine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// What lies beside the database file has its name and one of these endings.
const (
	logSuffix   = "-wal"  // SQLite's write-ahead log
	indexSuffix = "-shm"  // SQLite's index of the log
	lockSuffix  = "-lock" // see lock.go
)

// createMode is the mode of a new database file: payloads, passwords in
// callback URLs and signing secrets are nobody's but its owner's. What lies
// beside the file has the mode and the owner of the file, whatever those are.
const createMode fs.FileMode = 0o600

// maxLinks is how many symbolic links may lead to a file, one to the next.
const maxLinks = 40

// resolve returns the absolute path of a file without symbolic links, so that
// it has one lock file by whichever path it is opened. SQLite does the same for
// its own files. The file need not be there, its folder must.
func resolve(path string) (string, error) {
	for range maxLinks {
		dir := filepath.Dir(path)
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return "", fmt.Errorf("the folder %s does not exist: create it", dir)
		}
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			dir = real
		}
		path = filepath.Join(dir, filepath.Base(path))
		target, err := os.Readlink(path)
		if err != nil {
			return path, nil // it is no link, or not there
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(dir, target)
		}
		path = target
	}
	return "", errors.New("it is a symbolic link that leads nowhere: name a file")
}

// create makes a database file where there is none. The caller holds the lock
// exclusively: as soon as SQLite has a file open, closing it elsewhere in the
// process would give up SQLite's locks.
func create(path string) error {
	if info, err := os.Stat(path + logSuffix); err == nil && info.Size() > 0 {
		return fmt.Errorf("it is not there, but its log is: put it back beside %s, or remove that", path+logSuffix)
	}
	for _, suffix := range []string{"-journal", logSuffix, indexSuffix} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, createMode) //nolint:gosec // the caller of Open chooses the path
	if err != nil {
		return fmt.Errorf("it cannot be made: check the permissions of the folder: %w", err)
	}
	return f.Close()
}

// exist reports whether something is at all of the paths, or may be.
func exist(paths ...string) bool {
	for _, path := range paths {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return false
		}
	}
	return true
}
