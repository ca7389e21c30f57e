//go:build !unix

package main

import (
	"os/exec"
	"time"
)

// processCPU is not known.
func processCPU() time.Duration { return 0 }

// ignoreCtrlC does nothing here.
func ignoreCtrlC(*exec.Cmd) {}
