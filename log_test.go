package toot_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/watermarkchurch/toot-go"
)

// TestLogSaysWhichEvent: what is logged of a try names the event, its channel,
// the lane and the attempt.
func TestLogSaysWhichEvent(t *testing.T) {
	var log lockedBuffer
	n := newNode(t, toot.Options{
		ChannelPrefix: prefix,
		RetryDelay:    quickRetries, MaxRetries: 3,
		Logger: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}, true)
	n.subscribe(t, n, "a", toot.HandlerFunc(func(_ context.Context, e *toot.Event) error {
		switch e.Attempt {
		case 0:
			panic("dropped")
		case 1:
			return errors.New("not today")
		case 2:
			return toot.Permanent(errors.New("never"))
		}
		return nil
	}))
	n.subscribe(t, n, "b", toot.HandlerFunc(func(context.Context, *toot.Event) error { return nil }))
	refuses := newEndpoint(t, status(410))
	n.add(t, prefix+"b", strings.Replace(refuses.URL, "http://", "http://user:s3cret@", 1))
	a, err := n.Publish(t.Context(), "a", nil)
	must(t, err)
	b, err := n.Publish(t.Context(), "b", nil)
	must(t, err)
	n.settled(t)
	n.stop()

	type line struct {
		Level, Msg, Kind, Event, Channel, Lane, Error string
		Attempt, Status                               int
	}
	var lines []line
	for text := range bytes.Lines([]byte(log.String())) {
		var l line
		must(t, json.Unmarshal(text, &l))
		lines = append(lines, l)
	}
	callbacks := n.url + "/callbacks"
	gone := strings.Replace(refuses.URL, "http://", "http://redacted@", 1)
	for _, want := range []line{
		{"DEBUG", "toot: delivered", "deliver", a.ID, prefix + "a", callbacks, "", 1, 200},
		{"DEBUG", "toot: delivered", "deliver", b.ID, prefix + "b", callbacks, "", 1, 200},
		{"ERROR", "toot: gave up on a job; it is in the dead letters", "deliver", b.ID, prefix + "b", gone, "the endpoint is gone (status 410): it was taken off the channel", 1, 410},
		{"ERROR", "toot: handler panicked; the event will be tried again", "", a.ID, prefix + "a", prefix + "a", "", 1, 0},
		{"DEBUG", "toot: try failed; it will be tried again", "handle", a.ID, prefix + "a", prefix + "a", "panic: dropped", 1, 0},
		{"DEBUG", "toot: try failed; it will be tried again", "handle", a.ID, prefix + "a", prefix + "a", "not today", 2, 0},
		{"ERROR", "toot: gave up on a job; it is in the dead letters", "handle", a.ID, prefix + "a", prefix + "a", "never", 3, 0},
		{"DEBUG", "toot: handled", "handle", b.ID, prefix + "b", prefix + "b", "", 1, 0},
	} {
		found := false
		for _, l := range lines {
			found = found || l == want
		}
		if !found {
			t.Errorf("there is no line %+v in:\n%s", want, log.String())
		}
	}
	if strings.Contains(log.String(), "s3cret") {
		t.Errorf("a secret is in the log:\n%s", log.String())
	}
}

// A handler that fails is heard of at the default level, at once and once in a
// while, and so is that it works again.
func TestAHandlerThatFailsIsLogged(t *testing.T) {
	var log lockedBuffer
	n := newNode(t, toot.Options{RetryDelay: quickRetries, Logger: slog.New(slog.NewTextHandler(&log, nil))}, true)
	n.subscribe(t, n, "a", toot.HandlerFunc(func(_ context.Context, e *toot.Event) error {
		if e.Attempt < 3 {
			return errors.New("not today")
		}
		return nil
	}))
	sent, err := n.Publish(t.Context(), prefix+"a", nil)
	must(t, err)
	n.settled(t)
	n.stop()
	for line, want := range map[string][]string{
		"handler failed":      {"level=WARN", "event=" + sent.ID, "lane=" + prefix + "a", `error="not today"`, "again_in=", "attempt=1"},
		"handler works again": {"level=INFO", "lane=" + prefix + "a"},
	} {
		if c := strings.Count(log.String(), line); c != 1 {
			t.Fatalf("%q is logged %d times:\n%s", line, c, log.String())
		}
		for text := range strings.Lines(log.String()) {
			for _, word := range want {
				if strings.Contains(text, line) && !strings.Contains(text, word) {
					t.Errorf("no %s in %s", word, text)
				}
			}
		}
	}
}
