//go:build unix

package sqliteengine

import (
	"io/fs"
	"os"
	"syscall"
)

// noFollow makes opening a symbolic link an error.
const noFollow = syscall.O_NOFOLLOW

// follow gives a lock file the owner, the group and the mode of the database
// file, as far as this process may: root may do all of it, the owner give the
// file to a group that he is in. It does so only with what can be nothing but a
// lock file, which is empty: whoever writes to the folder could have put a link
// to another file there.
func follow(lock *os.File, database fs.FileInfo) {
	info, err := lock.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > 0 {
		return
	}
	is, ok1 := info.Sys().(*syscall.Stat_t)
	to, ok2 := database.Sys().(*syscall.Stat_t)
	if !ok1 || !ok2 || is.Nlink != 1 {
		return
	}
	// Who can't open the file in the end is told so.
	if is.Uid != to.Uid || is.Gid != to.Gid {
		owner := -1
		if os.Geteuid() == 0 {
			owner = int(to.Uid)
		}
		_ = lock.Chown(owner, int(to.Gid))
	}
	if mode := database.Mode().Perm(); info.Mode().Perm() != mode {
		_ = lock.Chmod(mode)
	}
}

// shareLog gives SQLite's log and its index the group of the database file.
// SQLite gives them its mode, and as root its owner and group, too.
func shareLog(path string, database fs.FileInfo) {
	to, ok := database.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() == 0 {
		return
	}
	for _, suffix := range []string{logSuffix, indexSuffix} {
		info, err := os.Lstat(path + suffix)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		if is, ok := info.Sys().(*syscall.Stat_t); ok && is.Gid != to.Gid {
			_ = os.Lchown(path+suffix, -1, int(to.Gid)) // by its owner, if he is in the group
		}
	}
}

// openToAll reports whether users who are neither the owner nor in the group of
// the database file may do something with it.
func openToAll(database fs.FileInfo) bool { return database.Mode().Perm()&0o007 != 0 }
