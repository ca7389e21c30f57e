package toot

import (
	"fmt"
	"strings"
	"time"
)

// An event that is to be sent later waits in the store as a fan-out job that is
// due then, whoever the subscribers will be by that time.

// maxDelay bounds Message.After. Engines count in microseconds or nanoseconds
// since 1970, which go further than that.
const maxDelay = 10 * 365 * 24 * time.Hour

// delay is how long from now a message is to be sent.
func (m *Message) delay(now time.Time) (time.Duration, error) {
	d := m.After
	if !m.At.IsZero() {
		if d != 0 {
			return 0, fmt.Errorf("%w: Message.After and Message.At are both set; use one of them", ErrInvalidDelay)
		}
		d = m.At.Sub(now)
	}
	if d > maxDelay {
		return 0, fmt.Errorf("%w: it is more than ten years from now", ErrInvalidDelay)
	}
	return max(d, 0), nil
}

// laterSuffix ends the names of the lanes in which events wait that are to be
// sent later. A channel has one beside that of its large fan-outs: what is due
// all at once does not hold those up, and an ID that waits there does not keep
// the same one from being published at once.
const laterSuffix = " (scheduled)"

func laterLane(channel string) string { return channel + laterSuffix }

func isLaterLane(name string) bool { return strings.HasSuffix(name, laterSuffix) }
