package faultengine

import (
	"encoding/binary"
	"hash/fnv"
	"slices"
	"time"
)

// Only applies a fault to every call of some methods, of all if none is named.
func Only(f Fault, methods ...Method) Script {
	return func(c Call) Fault {
		if len(methods) == 0 || slices.Contains(methods, c.Method) {
			return f
		}
		return Fault{}
	}
}

// Down makes calls of some methods fail without effect, of all if none is
// named.
func Down(methods ...Method) Script { return Only(Fault{Err: ErrInjected}, methods...) }

// Deaf makes calls of some methods take effect and then fail, of all if none
// is named: the answer got lost.
func Deaf(methods ...Method) Script { return Only(Fault{Err: ErrInjected, Late: true}, methods...) }

// Stuck makes calls of some methods hang, of all if none is named.
func Stuck(methods ...Method) Script { return Only(Fault{Hang: true}, methods...) }

// Nth applies a fault to one call of a method, the first being 1.
func Nth(m Method, n int, f Fault) Script {
	return func(c Call) Fault {
		if c.Method == m && c.N == n {
			return f
		}
		return Fault{}
	}
}

// Random makes a share of the calls fail, half of those after they took
// effect, and delays as many others by up to a tenth of a second. The same
// seed does the same to the n-th call of a method.
func Random(seed uint64, share float64, methods ...Method) Script {
	return func(c Call) Fault {
		if len(methods) > 0 && !slices.Contains(methods, c.Method) {
			return Fault{}
		}
		r := chance(seed, c)
		switch p := float64(r%1_000_000) / 1_000_000; {
		case p < share:
			return Fault{Err: ErrInjected, Late: r>>32%2 == 0}
		case p < 2*share:
			return Fault{Delay: time.Duration(r >> 32 % uint64(100*time.Millisecond))}
		}
		return Fault{}
	}
}

// chance is a number that looks random, the same for the same seed and call.
func chance(seed uint64, c Call) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte(c.Method), uint64(c.N)), seed)) //nolint:gosec // G115: counts are not negative
	x := h.Sum64()
	// FNV leaves the low bits of similar inputs similar.
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	return x ^ x>>33
}
