package pgengine

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/watermarkchurch/toot-go/engine"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests wait for the server more than they work.
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = flag.Set("test.parallel", "8")
	}
	goleak.VerifyTestMain(m)
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// open opens an engine, which is closed when the test is over.
func open(t testing.TB, url string, opts *Options) *Engine {
	t.Helper()
	o := Options{}
	if opts != nil {
		o = *opts
	}
	if o.Logger == nil {
		o.Logger = quiet
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	e, err := Open(ctx, url, &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func deliver(name string) engine.Lane { return engine.Lane{Kind: engine.Deliver, Name: name} }

var schemas atomic.Int64

// newSchema is a name that no other test has.
func newSchema() string { return fmt.Sprintf("s%d", schemas.Add(1)) }
