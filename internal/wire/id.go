package wire

import (
	"bufio"
	"crypto/rand"
	"sync"

	"github.com/google/uuid"
)

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
