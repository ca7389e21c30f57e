package wire

import (
	"bufio"
	"crypto/rand"
	"errors"
	"strings"
	"sync"

	"github.com/google/uuid"
)

// maxIDBytes bounds an event's ID.
const maxIDBytes = 1024

var (
	errLongID    = errors.New("the event's ID is longer than 1,024 bytes")
	errControlID = errors.New("the event's ID has control characters")
)

// CheckEventID says what is wrong with an event's ID, if anything. An empty one
// stands for none.
func CheckEventID(id string) error {
	switch {
	case len(id) > maxIDBytes:
		return errLongID
	case strings.IndexFunc(id, isControl) >= 0:
		return errControlID
	}
	return nil
}

// NewEventID returns a UUID of version 7. Those of one process ascend, which
// keeps the indexes of every store compact.
func NewEventID() string {
	randomness.Lock()
	defer randomness.Unlock()
	return uuid.Must(uuid.NewV7FromReader(randomness.reader)).String()
}

// randomness is the system's, fetched for many IDs at once.
var randomness = struct {
	sync.Mutex
	reader *bufio.Reader
}{reader: bufio.NewReaderSize(rand.Reader, 1024)}

// maxShown is how much of a text from outside a log line has.
const maxShown = 64

// Shorten returns a text from outside as a log line may have it, which does not
// get long by it.
func Shorten(s string) string {
	if len(s) <= maxShown {
		return s
	}
	return strings.ToValidUTF8(s[:maxShown], "") + "…"
}
