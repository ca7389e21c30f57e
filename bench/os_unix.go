//go:build unix

package main

import (
	"os/exec"
	"syscall"
	"time"
)

// processCPU is the processor time of this process so far.
func processCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// ignoreCtrlC keeps from a command, not started yet, what the terminal sends to
// this process.
func ignoreCtrlC(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
