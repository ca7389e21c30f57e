//go:build !linux

package memdir

func memory() (place string, ok bool) { return "", false }
