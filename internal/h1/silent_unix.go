//go:build unix

package h1

import (
	"errors"
	"net"
	"syscall"
)

const supported = true

// silence asks whether an idle connection is as it should be: open, with
// nothing to be read, which could only be taken for the answer to the next
// request.
type silence struct {
	raw    syscall.RawConn
	peek   func(fd uintptr) bool
	silent bool
}

// listenTo returns nil for what is no socket.
func listenTo(c net.Conn) *silence {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	s := &silence{raw: raw}
	s.peek = func(fd uintptr) bool {
		var b [1]byte
		_, err := syscall.Read(int(fd), b[:])
		s.silent = errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EWOULDBLOCK)
		return true
	}
	return s
}

func (s *silence) holds() bool {
	s.silent = false
	return s.raw.Read(s.peek) == nil && s.silent
}
