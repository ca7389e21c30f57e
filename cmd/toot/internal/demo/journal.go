package demo

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// journal keeps the ledger in a folder, one ID a line, so that the next run
// there can account for what this one has left. A nil journal keeps nothing.
type journal struct {
	publishedFile, handledFile *os.File
}

// openJournal reads what earlier runs wrote, and goes on from there.
func openJournal(dir string) (j *journal, published, handled []eventID, err error) {
	j = &journal{}
	if j.publishedFile, published, err = openLog(filepath.Join(dir, "published.log")); err != nil {
		return nil, nil, nil, err
	}
	if j.handledFile, handled, err = openLog(filepath.Join(dir, "handled.log")); err != nil {
		return nil, nil, nil, errors.Join(err, j.close())
	}
	return j, published, handled, nil
}

func openLog(path string) (*os.File, []eventID, error) {
	var ids []eventID
	old, err := os.Open(path) //nolint:gosec // G304: the user names the folder
	if err == nil {
		lines := bufio.NewScanner(old)
		for lines.Scan() {
			if id, ok := parseID(lines.Text()); ok { // a process that was killed may leave half a line
				ids = append(ids, id)
			}
		}
		err = errors.Join(lines.Err(), old.Close())
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("can't read %s: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600) //nolint:gosec // G304: as above
	return f, ids, err
}

// published notes events before anything else is told of them, in one write.
func (j *journal) published(ids []eventID) error {
	if j == nil {
		return nil
	}
	var b strings.Builder
	for _, id := range ids {
		b.WriteString(id.String() + "\n")
	}
	_, err := j.publishedFile.WriteString(b.String())
	return err
}

// handled notes an event before its handler returns.
func (j *journal) handled(id eventID) error {
	if j == nil {
		return nil
	}
	_, err := j.handledFile.WriteString(id.String() + "\n")
	return err
}

func (j *journal) close() error {
	if j == nil {
		return nil
	}
	var errs []error
	for _, f := range []*os.File{j.publishedFile, j.handledFile} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
