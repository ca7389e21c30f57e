package wire

import (
	"errors"
	"net/http"
	"sync/atomic"
)

// Intake bounds the memory that requests take whose bodies are being read or
// stored, all of them together. It may be used concurrently; a nil Intake has
// no bound.
type Intake struct {
	most int64 // bytes
	held atomic.Int64
}

// NewIntake returns an Intake of so many bytes.
func NewIntake(most int64) *Intake { return &Intake{most: most} }

// take takes n bytes, if there is room for them.
func (in *Intake) take(n int64) bool {
	if in == nil {
		return true
	}
	for {
		held := in.held.Load()
		if held+n > in.most {
			return false
		}
		if in.held.CompareAndSwap(held, held+n) {
			return true
		}
	}
}

func (in *Intake) giveBack(n int64) {
	if in != nil {
		in.held.Add(-n)
	}
}

// errFull is the error of a body for which its Intake has no room.
var errFull = errors.New("no room for the body")

// Full answers that more arrives than there is room for.
func Full(w http.ResponseWriter) {
	Unavailable(w, "More arrives here at once than can be taken in. Nothing was stored; please send it again.")
}
