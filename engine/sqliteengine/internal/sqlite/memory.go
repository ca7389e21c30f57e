//nolint:gosec // Addresses of the library's memory.
package sqlite

import (
	"unsafe"

	"modernc.org/libc"
	"modernc.org/libc/sys/types"
)

// The library's memory is not Go's: it does not move, the collector does not
// know it, and its addresses are numbers.

// ptr turns an address into a pointer. Going through the variable's address
// tells vet that this is meant.
func ptr(p uintptr) unsafe.Pointer {
	return *(*unsafe.Pointer)(unsafe.Pointer(&p))
}

// at is the thing of type T at an address.
func at[T any](p uintptr) *T { return (*T)(ptr(p)) }

// bytesAt are the n bytes at an address.
func bytesAt[I int | int32 | int64](p uintptr, n I) []byte {
	return unsafe.Slice((*byte)(ptr(p)), n)
}

// alloc returns zeroed memory for a T, or 0.
func alloc[T any](tls *libc.TLS) uintptr {
	var zero T
	p := libc.Xmalloc(tls, types.Size_t(unsafe.Sizeof(zero)))
	if p != 0 {
		*at[T](p) = zero
	}
	return p
}

// out calls f with the address of a place for an address, and returns what is
// there afterwards.
func out(tls *libc.TLS, f func(p uintptr) (rc int32)) (address uintptr, rc int32) {
	const size = int(unsafe.Sizeof(address))
	p := tls.Alloc(size)
	defer tls.Free(size)
	*at[uintptr](p) = 0
	rc = f(p)
	return *at[uintptr](p), rc
}

// The library keeps pointers to functions as addresses of Go's function
// values, each of which begins with the address of the code.

// callback is the address under which the library calls f, a function that is
// no closure.
func callback(f any) uintptr { return (*[2]uintptr)(unsafe.Pointer(&f))[1] }

// call makes a function from an address. F must be its type.
func call[F any](p uintptr) F { return *(*F)(unsafe.Pointer(&struct{ uintptr }{p})) }

// buffer is memory for the bytes of one parameter, which is used again: SQLite
// must not be pointed at memory of Go's.
type buffer struct {
	p   uintptr
	cap int
}

// keepBuffer is how much of it a parameter keeps for smaller values.
const keepBuffer = 64 << 10

// hold copies n bytes into the buffer and returns their address, which is
// never 0: that would be NULL. It returns 0 if there is no memory.
func (b *buffer) hold(tls *libc.TLS, from *byte, n int) uintptr {
	if b.cap < n || b.p == 0 || b.cap > keepBuffer && n < keepBuffer {
		b.free(tls)
		size := max(n, 64)
		if b.p = libc.Xmalloc(tls, types.Size_t(size)); b.p == 0 {
			return 0
		}
		b.cap = size
	}
	if n > 0 {
		copy(bytesAt(b.p, n), unsafe.Slice(from, n))
	}
	return b.p
}

func (b *buffer) free(tls *libc.TLS) {
	if b.p != 0 {
		libc.Xfree(tls, b.p)
	}
	*b = buffer{}
}
