package dialect

import (
	"errors"
	"slices"
	"strings"
)

// IsConflict reports the error of a transaction that failed because of another
// one that was under way: a serialization failure, a deadlock, a lock that was
// not to be had in time. Made again from its beginning it may succeed.
func IsConflict(err error) bool {
	if err == nil {
		return false
	}
	var state interface{ SQLState() string } // pgx, lib/pq
	if errors.As(err, &state) {
		return slices.Contains([]string{"40001", "40P01", "55P03"}, state.SQLState())
	}
	text := err.Error()
	for _, sign := range []string{
		"Error 1213", "Error 1205", "Error 1020", // go-sql-driver: deadlock, lock wait time-out, record changed since it was read
		"database is locked", "database table is locked", "SQLITE_BUSY", // SQLite's drivers
	} {
		if strings.Contains(text, sign) {
			return true
		}
	}
	return false
}

// IsAnswer reports the error with which a server answered that what it was asked
// has not been done, rather than that its answer was lost.
func IsAnswer(err error) bool {
	if err == nil {
		return false
	}
	var state interface{ SQLState() string }
	if errors.As(err, &state) {
		class := state.SQLState()
		// 08 is about connections, 57 about the server going down.
		return !strings.HasPrefix(class, "08") && !strings.HasPrefix(class, "57")
	}
	// go-sql-driver: numbers from 2000 on are the client's, 1053 is a shutdown.
	text := err.Error()
	return strings.Contains(text, "Error 1") && !strings.Contains(text, "Error 1053")
}
