//go:build unix

package subprocess

import (
	"os"
	"syscall"
)

// Suspend stops a process where it stands, until Resume. Where the operating
// system can't do that, both return errors.ErrUnsupported.
func Suspend(p *os.Process) error { return p.Signal(syscall.SIGSTOP) }

// Resume lets a process go on after Suspend.
func Resume(p *os.Process) error { return p.Signal(syscall.SIGCONT) }
