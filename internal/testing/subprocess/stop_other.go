//go:build !unix

package subprocess

import (
	"errors"
	"os"
)

// Suspend can't be done here.
func Suspend(*os.Process) error { return errors.ErrUnsupported }

// Resume can't be done here.
func Resume(*os.Process) error { return errors.ErrUnsupported }
