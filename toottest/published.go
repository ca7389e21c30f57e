package toottest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/watermarkchurch/toot-go"
)

// published is an observer that keeps what is published.
type published struct {
	mu     sync.Mutex
	events []*toot.Event
}

// Begin implements toot.Observer.
func (p *published) Begin(ctx context.Context, s *toot.Step) (context.Context, func(toot.StepResult)) {
	if s.Name != toot.StepPublish {
		return ctx, nil
	}
	e := new(toot.Event)
	if err := e.UnmarshalJSON(bytes.Clone(s.Body)); err != nil { // Publish has just made it
		panic(err)
	}
	return ctx, func(r toot.StepResult) {
		if r.Outcome != toot.OutcomeOK {
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.events = append(p.events, e)
	}
}

// Published returns what the App has published since New, oldest first, whether
// anybody is subscribed or not: each event for which Publish or PublishAll has
// succeeded. The events must not be changed.
func (a *App) Published() []*toot.Event {
	a.published.mu.Lock()
	defer a.published.mu.Unlock()
	return slices.Clone(a.published.events)
}

// RequirePublished returns the one event that the App has published on a
// channel since New, and ends the test if there is none, or more than one. The
// channel is named as in Publish, without the App's prefix, or in full. It does
// not wait for an event.
func (a *App) RequirePublished(t testing.TB, channel string) *toot.Event {
	t.Helper()
	all := a.Published()
	var found []*toot.Event
	for _, e := range all {
		if e.Channel == a.prefix+channel || e.Channel == channel {
			found = append(found, e)
		}
	}
	if len(found) != 1 {
		t.Fatalf("toottest: %d events were published on %q, want 1. %s", len(found), channel, shown(all))
	}
	return found[0]
}

// shown is what was published, for the message of a test that fails.
func shown(events []*toot.Event) string {
	if len(events) == 0 {
		return "Nothing was published at all."
	}
	var b strings.Builder
	b.WriteString("What was published:")
	for _, e := range events {
		fmt.Fprintf(&b, "\n\t%s %s", e.Channel, e.Payload)
	}
	return b.String()
}
