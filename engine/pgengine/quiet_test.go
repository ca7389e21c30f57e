package pgengine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/testing/postgrestest"
)

// An app that has nothing to do claims for three kinds every two seconds at the
// most; the engine adds its pulse. The server's log counts the statements.
func TestAnIdleProcessIsQuiet(t *testing.T) {
	t.Parallel()
	s := postgrestest.Start(t, "log_statement = all", "log_min_duration_statement = -1")
	e := open(t, s.Database(t), nil)
	defer e.Watch(func(engine.Kind) {})()
	idle := func() {
		for _, k := range []engine.Kind{engine.FanOut, engine.Deliver, engine.Handle} {
			if _, err := e.Claim(t.Context(), engine.ClaimRequest{Kind: k, Max: 10, MaxPerLane: 10, Lease: time.Minute}); err != nil {
				t.Fatal(err)
			}
		}
	}
	idle()
	ticket, err := pushed(t, e, "job")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Settle(t.Context(), []engine.Outcome{{Ticket: ticket, Result: engine.Done}}); err != nil {
		t.Fatal(err)
	}
	statements := func() []string {
		text, err := os.ReadFile(filepath.Join(s.Dir(), "log"))
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, "LOG:  execute") || strings.Contains(line, "LOG:  statement:") {
				found = append(found, line)
			}
		}
		return found
	}
	before := len(statements())
	const seconds = 12
	time.Sleep(seconds * time.Second)
	if sent := statements()[before:]; len(sent) >= 2*seconds {
		t.Errorf("an engine without calls must send fewer than 2 statements a second: it sent %d in %d seconds:\n%s", len(sent), seconds, strings.Join(sent, ""))
	}
}
