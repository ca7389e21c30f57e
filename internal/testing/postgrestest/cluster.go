//go:build linux || darwin || freebsd

package postgrestest

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// To make a database cluster takes longer than most tests that want one. So it is
// made once for a test binary, and copied.
var pattern struct {
	once sync.Once
	dir  string
	err  error
	held io.Closer // while it is open, the directory stays
}

// copyCluster gives a server a database cluster.
func (s *Server) copyCluster() error {
	p := &pattern
	p.once.Do(func() { p.dir, p.held, p.err = makeCluster() })
	if p.err != nil {
		return p.err
	}
	if out, err := command("cp", "-R", filepath.Join(p.dir, "data"), s.data()).CombinedOutput(); err != nil {
		return fmt.Errorf("can't copy a database cluster: %w\n%s", err, out)
	}
	return nil
}

// makeCluster makes a database cluster in the folder data of a directory that is
// removed when this process ends. Its texts sort as people sort them, not by
// their bytes, so that a query which takes the one for the other shows.
func makeCluster() (dir string, held io.Closer, err error) {
	program, err := find("initdb")
	if err != nil {
		return "", nil, err
	}
	if dir, err = ownDir("postgrestest"); err != nil {
		return "", nil, err
	}
	r, w, err := os.Pipe()
	if err == nil {
		remover := command("/bin/sh", "-c", `read -r over; rm -rf "$1"`, "sh", dir)
		remover.Stdin = r
		err = remover.Start()
		_ = r.Close()
	}
	if err == nil {
		cmd := command(program, "--pgdata", filepath.Join(dir, "data"), "--username", user, "--auth", "trust", "--encoding", "UTF8", "--no-sync",
			"--locale", "C.UTF-8", "--locale-provider", "icu", "--icu-locale", "en")
		cmd.Dir = dir
		var out []byte
		if out, err = cmd.CombinedOutput(); err != nil {
			err = fmt.Errorf("initdb: %w\n%s", err, out)
		}
	}
	if err != nil {
		_ = os.RemoveAll(dir)
		return "", nil, err
	}
	return dir, w, nil
}
