package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/watermarkchurch/toot-go/internal/testing/postgrestest"
)

// postgresSettings are what the rows on PostgreSQL are measured with. The rest is
// as the server comes.
var postgresSettings = []string{"fsync = on", "synchronous_commit = on", "shared_buffers = 256MB", "max_wal_size = 4GB"}

// postgresServer is a PostgreSQL server of our own, with a database.
type postgresServer struct {
	*postgrestest.Server
	url string
}

func startPostgres() (*postgresServer, error) {
	s, err := postgrestest.Launch(postgresSettings...)
	if err != nil {
		return nil, err
	}
	url, err := s.CreateDatabase("bench")
	if err != nil {
		return nil, fmt.Errorf("%w, and ending the server: %w", err, s.End())
	}
	return &postgresServer{s, url}, nil
}

// cpu is the processor time that the server's processes have used, as Linux tells
// it; those that have ended count with their parent.
func (s *postgresServer) cpu() (sum time.Duration, err error) {
	const tick = 10 * time.Millisecond // as the kernel counts it for programs
	for i, pid := range s.Processes() {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if os.IsNotExist(err) {
			continue // it has ended since, or this is another system
		}
		if err != nil {
			return 0, err
		}
		// The fields behind the name, which ends with the last parenthesis.
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		const user, children = 11, 13 // the first of two each
		last := user + 2
		if i == 0 {
			last = children + 2
		}
		for _, field := range fields[user:min(last, len(fields))] {
			n, _ := strconv.ParseInt(field, 10, 64)
			sum += time.Duration(n) * tick
		}
	}
	return sum, nil
}
