//go:build !unix

package sqliteengine

import (
	"io/fs"
	"os"
)

// Elsewhere the folder says who may do what with the files in it.

const noFollow = 0

func follow(*os.File, fs.FileInfo) {}

func shareLog(string, fs.FileInfo) {}

func openToAll(fs.FileInfo) bool { return false }
