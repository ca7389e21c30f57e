package crashtest

import (
	"encoding/binary"
	"os"
	"time"
)

// SetClock writes into a file how far the wall clock of processes is ahead.
func SetClock(file string, ahead time.Duration) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o600) // not truncated: processes read it meanwhile
	if err != nil {
		return err
	}
	_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(ahead)), 0) //nolint:gosec // it is read as it is
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// wallTime returns a wall clock that is ahead as a file says, and a time that
// goes on evenly.
func wallTime(file string) (func() (wall time.Time, monotonic time.Duration), error) {
	f, err := os.Open(file) // for as long as the process lives
	if err != nil {
		return nil, err
	}
	start := time.Now()
	return func() (time.Time, time.Duration) {
		var ahead [8]byte
		if _, err := f.ReadAt(ahead[:], 0); err != nil {
			panic(err)
		}
		now := time.Now()
		return now.Add(time.Duration(binary.NativeEndian.Uint64(ahead[:]))), now.Sub(start) //nolint:gosec // as it was written
	}, nil
}
