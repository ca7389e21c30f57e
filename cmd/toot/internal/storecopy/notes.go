package storecopy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// Copying is done several times as a rule: when apps begin to use the second store,
// and when they have left the first. What was changed or removed in the second one
// in between stays as it is there; what was changed in the first alone is changed in
// the second, too. So it is noted in the second store what everything was when it
// was copied, by hashes, as attributes of a group of their own.
const (
	notesGroup = "store-copy"
	notesLast  = 30 * 24 * time.Hour
)

func (m *mover) readNotes(ctx context.Context) (err error) {
	m.notes, err = m.to.Attributes(ctx, notesGroup)
	return named(err, "what was copied before")
}

// thing is the name of a note about something.
func thing(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		sum := sha256.Sum256([]byte(part))
		h.Write(sum[:])
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// digest stands for a value in a note.
func digest(value []byte) string {
	sum := sha256.Sum256(value)
	return hex.EncodeToString(sum[:16])
}

// note says that something has been copied, with that value.
func (m *mover) note(ctx context.Context, name, digest string) error {
	old := m.notes[name].Value
	if string(old) == digest {
		return nil
	}
	_, err := m.to.SwapAttribute(ctx, notesGroup, name, old, []byte(digest), notesLast)
	return err
}

// choice is what is to be done about something that both stores may have.
type choice int

const (
	leave  choice = iota // as it is in the second store, or is not
	take                 // from the first
	settle               // it is the same in both
)

// choose decides by the values in the two stores, empty for none, and the note.
func choose(from, to []byte, noted string) choice {
	switch {
	case string(from) == string(to):
		return settle
	case len(to) == 0 && noted == "":
		return take
	case len(to) > 0 && noted == digest(to): // as it was copied: the first has changed
		return take
	}
	return leave
}
