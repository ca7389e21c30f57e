package toot_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
)

// tryLine is what the log says of a try.
type tryLine struct {
	Msg, Kind, Event string
	Attempt          int
	Probe            bool
}

func triesIn(t *testing.T, log string) (lines []tryLine) {
	t.Helper()
	for text := range bytes.Lines([]byte(log)) {
		var l tryLine
		must(t, json.Unmarshal(text, &l))
		if l.Attempt > 0 && (strings.Contains(l.Msg, "try failed") || strings.Contains(l.Msg, "gave up")) {
			lines = append(lines, l)
		}
	}
	return lines
}

// TestAttemptIsOneNumber: the handler, the observer, the log and the dead letter
// name a try alike.
func TestAttemptIsOneNumber(t *testing.T) {
	var log lockedBuffer
	var mu sync.Mutex
	var handler, observer []int
	n := newNode(t, toot.Options{
		ChannelPrefix: prefix, RetryDelay: quickRetries, MaxRetries: 2,
		Logger: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Observer: observerFunc(func(ctx context.Context, s *toot.Step) (context.Context, func(toot.StepResult)) {
			if s.Name == toot.StepHandle {
				mu.Lock()
				defer mu.Unlock()
				observer = append(observer, s.Attempt)
			}
			return ctx, nil
		}),
	}, true)
	n.subscribe(t, n, "a", toot.HandlerFunc(func(_ context.Context, e *toot.Event) error {
		mu.Lock()
		defer mu.Unlock()
		handler = append(handler, e.Attempt)
		return errors.New("never")
	}))
	_, err := n.Publish(t.Context(), "a", nil)
	must(t, err)
	n.settled(t)
	n.stop()
	letters, err := n.DeadLetters(t.Context(), engine.DeadQuery{})
	must(t, err)
	if len(letters) != 1 {
		t.Fatalf("%d dead letters", len(letters))
	}
	var logged, kept []int
	for _, l := range triesIn(t, log.String()) {
		logged = append(logged, l.Attempt)
	}
	for _, try := range letters[0].Tries {
		kept = append(kept, try.Attempt)
	}
	for who, got := range map[string][]int{"the handler": handler, "the observer": observer, "the log": logged, "the dead letter": kept} {
		if want := []int{1, 2, 3}; !slices.Equal(got, want) {
			t.Errorf("%s counts %v, want %v", who, got, want)
		}
	}
	if l := letters[0]; l.Attempts != 3 || l.Probes != 0 || l.Reason != "never (after 3 tries)" {
		t.Errorf("%d tries, %d probes, %q", l.Attempts, l.Probes, l.Reason)
	}
}

// TestProbesAreToldApart from the tries that cost a retry, in the log and in dead
// letters.
func TestProbesAreToldApart(t *testing.T) {
	var log lockedBuffer
	n := newNode(t, toot.Options{
		ChannelPrefix: prefix, MaxRetries: 1, ProbeInterval: 20 * time.Millisecond, KeepTries: 1000,
		RetryDelay: func(int) time.Duration { return 2 * time.Second },
		Logger:     slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}, true)
	e := newEndpoint(t, status(500))
	n.add(t, prefix+"a", e.URL)
	for range 6 { // enough failures for the lane to be probed
		_, err := n.Publish(t.Context(), "a", nil)
		must(t, err)
	}
	n.settled(t)
	n.stop()
	letters, err := n.DeadLetters(t.Context(), engine.DeadQuery{})
	must(t, err)
	probed := 0
	for _, l := range letters {
		var logged []tryLine
		for _, line := range triesIn(t, log.String()) {
			if line.Event == l.EventID {
				logged = append(logged, line)
			}
		}
		probes := 0
		for i, try := range l.Tries {
			if try.Probe {
				probes++
			}
			if i >= len(logged) || logged[i].Attempt != try.Attempt || logged[i].Probe != try.Probe {
				t.Errorf("try %d is %+v, and in the log %+v", i, try, logged)
				break
			}
		}
		probed += probes
		want := "(after 2 tries)"
		switch {
		case probes == 1:
			want = "(after 2 tries and 1 probe)"
		case probes > 1:
			want = fmt.Sprintf("(after 2 tries and %d probes)", probes)
		}
		if l.Attempts != 2 || l.Probes != probes || len(l.Tries) != 2+probes || !strings.HasSuffix(l.Reason, want) {
			t.Errorf("%d tries, %d probes, kept %d and %d probes, %q", l.Attempts, l.Probes, len(l.Tries), probes, l.Reason)
		}
	}
	if len(letters) != 6 || probed == 0 {
		t.Errorf("%d dead letters, %d probes", len(letters), probed)
	}
}
