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

func (a *answer) string(i int) string {
	if a.err != nil {
		return ""
	}
	s, err := a.parts[i].ToString()
	if err != nil {
		a.err = errForeign
	}
	return s
}

// int reads a number, which scripts send as text where it is large.
func (a *answer) int(i int) int64 {
	if a.err != nil {
		return 0
	}
	if a.parts[i].IsInt64() {
		n, _ := a.parts[i].AsInt64()
		return n
	}
	n, err := strconv.ParseInt(a.string(i), 10, 64)
	if err != nil {
		a.err = errForeign
	}
	return n
}

func (a *answer) list(i int) []rueidis.RedisMessage {
	if a.err != nil {
		return nil
	}
	l, err := a.parts[i].ToArray()
	if err != nil {
		a.err = errForeign
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
