// Package sqlite is the embedded engine's border to SQLite: connections,
// cached prepared statements, and a VFS that writes a commit to the log at
// once. All that knows how modernc.org/sqlite is made is in here.
//
// It calls the library of modernc.org/sqlite, C that was translated to Go,
// without the driver for database/sql around it. An engine runs some ten
// thousand small statements a batch, and the driver's work for each of them
// (contexts, boxed values, an allocation for every blob) takes longer than
// SQLite's own.
//
// The files:
//
//   - conn.go, stmt.go, error.go: what is called
//   - memory.go: addresses and memory of the library's
//   - vfs.go, log.go: the gathering VFS and its log files
//   - check.go, trial.go: whether the library is one that the VFS can work with
package sqlite
