//go:build !linux && !freebsd

package subprocess

import "os/exec"

// DieWithParent does nothing here.
func DieWithParent(*exec.Cmd) {}
