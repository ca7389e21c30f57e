//go:build !linux && !darwin && !freebsd

package postgrestest

import (
	"context"
	"errors"
	"testing"

	"github.com/watermarkchurch/toot-go/internal/testing/serverclock"
)

// errSystem is why there are no servers here, so that the tests which want one
// build and fail.
var errSystem = errors.New("postgrestest: servers are started on Linux, macOS and FreeBSD only")

// Server is a PostgreSQL server.
type Server struct{}

// Bouncer is a PgBouncer before a Server.
type Bouncer struct{}

// Launch returns an error.
func Launch(...string) (*Server, error) { return nil, errSystem }

// Version returns an error.
func Version(context.Context) (string, error) { return "", errSystem }

// Start fails the test.
func Start(t testing.TB, _ ...string) *Server { t.Fatal(errSystem); return nil }

// StartOnSmallDisk fails the test.
func StartOnSmallDisk(t testing.TB, _ ...string) *Server { return Start(t) }

// Shared fails the test.
func Shared(t testing.TB) *Server { return Start(t) }

// Database fails the test.
func Database(t testing.TB) string { return Start(t).URL("") }

// StartWithClock fails the test.
func StartWithClock(t testing.TB, _ ...string) (*Server, *serverclock.Clock) { return Start(t), nil }

// Via is of no use without a server.
func Via(string, string) string { panic(errSystem) }

// What a Server can do, of which there is none.

func (*Server) Addr() string                           { panic(errSystem) }
func (*Server) URL(string) string                      { panic(errSystem) }
func (*Server) Dir() string                            { panic(errSystem) }
func (*Server) Database(testing.TB) string             { panic(errSystem) }
func (*Server) CreateDatabase(string) (string, error)  { panic(errSystem) }
func (*Server) Exec(testing.TB, string, ...string)     { panic(errSystem) }
func (*Server) Bouncer(testing.TB, ...string) *Bouncer { panic(errSystem) }
func (*Server) Processes() []int                       { panic(errSystem) }
func (*Server) Standby(testing.TB) *Server             { panic(errSystem) }
func (*Server) Promote(testing.TB)                     { panic(errSystem) }
func (*Server) Either(*Server, string) string          { panic(errSystem) }
func (*Server) Restart(testing.TB)                     { panic(errSystem) }
func (*Server) Kill()                                  { panic(errSystem) }
func (*Server) Pause()                                 { panic(errSystem) }
func (*Server) Resume()                                { panic(errSystem) }
func (*Server) Stop()                                  { panic(errSystem) }
func (*Server) End() error                             { panic(errSystem) }
func (*Bouncer) Addr() string                          { panic(errSystem) }
func (*Bouncer) URL(string) string                     { panic(errSystem) }
