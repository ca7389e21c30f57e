//go:build linux || freebsd

package subprocess

import (
	"os/exec"
	"syscall"
)

// DieWithParent makes a command, not started yet, end with this process even if
// this process is killed and can't clean up. Where the kernel doesn't offer that
// (neither Linux nor FreeBSD), it does nothing.
func DieWithParent(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
}
