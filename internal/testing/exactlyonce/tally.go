package exactlyonce

import (
	"os"
	"path/filepath"
)

// tally counts the duplicates that the inbox of a process stopped: it is a file
// that has a byte for each, and survives the process. Once it is there, the process
// has begun.
type tally struct{ file *os.File }

const tallySuffix = ".stopped"

func openTally(file string) (*tally, error) {
	f, err := os.OpenFile(file+tallySuffix, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return &tally{f}, err
}

func (t *tally) add() {
	if _, err := t.file.Write([]byte{'.'}); err != nil {
		panic(err)
	}
}

// tallied is the sum of all tallies in a directory.
func tallied(dir string) (sum int, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*"+tallySuffix))
	if err != nil {
		return 0, err
	}
	for _, name := range files {
		info, err := os.Stat(name)
		if err != nil {
			return 0, err
		}
		sum += int(info.Size())
	}
	return sum, nil
}
