package redisengine

import (
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

// answer reads what a script on a queue returned. After something unexpected err
// is set and everything reads as nothing.
type answer struct {
	parts []rueidis.RedisMessage
	now   int64 // the queue's time
	// refused is whether nothing was done, for the time that it is.
	refused bool
	err     error
}

// parse reads an answer of so many parts.
func parse(parts []rueidis.RedisMessage, want int) answer {
	a := answer{parts: parts}
	if a.refused = len(parts) == 1; !a.refused && len(parts) != want {
		a.err = errForeign
	}
	a.now = a.int(0)
	return a
}

// part returns a part; ok is false if there is none, or was none before.
func (a *answer) part(i int) (m *rueidis.RedisMessage, ok bool) {
	if a.err == nil && i >= len(a.parts) {
		a.err = errForeign
	}
	if a.err != nil {
		return nil, false
	}
	return &a.parts[i], true
}

func (a *answer) string(i int) (s string) {
	if m, ok := a.part(i); ok {
		var err error
		if s, err = m.ToString(); err != nil {
			a.err = errForeign
		}
	}
	return s
}

// int reads a number, which scripts send as text where it is large.
func (a *answer) int(i int) (n int64) {
	m, ok := a.part(i)
	if !ok {
		return 0
	}
	var err error
	if m.IsInt64() {
		n, err = m.AsInt64()
	} else {
		n, err = strconv.ParseInt(a.string(i), 10, 64)
	}
	if err != nil {
		a.err = errForeign
	}
	return n
}

func (a *answer) list(i int) (l []rueidis.RedisMessage) {
	if m, ok := a.part(i); ok {
		var err error
		if l, err = m.ToArray(); err != nil {
			a.err = errForeign
		}
	}
	return l
}

// numbers are separated by blanks.
type numbers struct{ text string }

func (n *numbers) next() (int64, error) {
	first, rest, _ := strings.Cut(n.text, " ")
	n.text = rest
	return strconv.ParseInt(first, 10, 64)
}
