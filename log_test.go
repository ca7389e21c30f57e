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
	"github.com/watermarkchurch/toot-go/signing"
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
		case 1:
			panic("dropped")
		case 2:
			return errors.New("not today")
		case 3:
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

// TestRefusalsAreOneShortLine: what is refused is logged in one line, however
// long what was sent is, and however many events of a batch it is about.
func TestRefusalsAreOneShortLine(t *testing.T) {
	var log lockedBuffer
	n := newNode(t, toot.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, false)
	must(t, n.AddSource("open", toot.Source{SubscriptionURL: "http://127.0.0.1:1/"}))
	must(t, n.Subscribe("open", "open", &recorder{}))
	must(t, n.AddSource("signed", toot.Source{SubscriptionURL: "http://127.0.0.1:1/", SigningSecrets: []string{signing.NewSecret()}}))
	must(t, n.Subscribe("signed", "signed", &recorder{}))
	long := strings.Repeat("x", 1025)
	const batch, single = batchType, "application/json"
	for _, tc := range []struct {
		name, contentType, body string
		status                  int
		says                    []string
	}{
		{"a long ID", single, `{"channel":"open","id":"` + long + `"}`, 422, []string{"channel=open", "1,024 bytes"}},
		{"a very long ID", single, `{"channel":"open","id":"` + strings.Repeat("x", 1<<19) + `"}`, 422, []string{"channel=open", "1,024 bytes"}},
		{"an ID of an object", single, `{"channel":"open","id":{"a":"` + long + `"}}`, 422, []string{"1,024 bytes"}},
		{"a line break in the ID", single, `{"channel":"open","id":"a\nb"}`, 422, []string{"control characters"}},
		{"a line separator in the ID", single, `{"channel":"open","id":"a\u2028b"}`, 422, []string{"control characters"}},
		{"a long ID on a long channel", single, `{"channel":"` + strings.Repeat("y", 1<<18) + `","id":"` + long + `"}`, 422, []string{"1,024 bytes"}},
		{"an ID as long as can be", single, `{"channel":"open","id":"` + long[1:] + `"}`, 200, nil},
		{"the same in escapes", single, `{"channel":"open","id":"` + strings.Repeat(`\u0078`, 1024) + `"}`, 200, nil},
		{"not signed", single, `{"channel":"signed","id":"` + long[1:] + `"}`, 401, []string{"channel=signed", "webhook-id"}},
		{"a batch", batch, `[{"channel":"signed","id":"1"},7,{"channel":"open","id":"2"},{"channel":"open","id":"` + long + `"},{"channel":"open","id":"a\tb"},{"channel":"nobody","id":"3"}]`, 200,
			[]string{"refused=4", "events=6", "webhook-id"}},
		{"a batch of more than is taken", batch, `[` + strings.Repeat("7,", 256) + `7]`, 413, []string{"256"}},
		{"a batch of unwanted events", batch, `[{"channel":"nobody","id":"3"}]`, 200, nil},
	} {
		before := len(log.String())
		a := n.request(t, "POST", "/callbacks", tc.body, "Content-Type", tc.contentType)
		if a.status != tc.status {
			t.Errorf("%s: answered %d %.200s, want %d", tc.name, a.status, a.body, tc.status)
		}
		said := log.String()[before:]
		lines := strings.Count(said, "\n")
		if want := min(len(tc.says), 1); lines != want || len(said) > 400 {
			t.Errorf("%s: %d lines of %d bytes were logged, want %d short ones: %.500s", tc.name, lines, len(said), want, said)
		}
		for _, what := range tc.says {
			if !strings.Contains(said, what) {
				t.Errorf("%s: the log does not say %q: %s", tc.name, what, said)
			}
		}
	}
	if lanes := n.lanes(t); len(lanes) != 1 || lanes[0].Waiting != 2 { // of which two have the same ID
		t.Errorf("stored: %+v", lanes)
	}
}

// A handler that fails is heard of at the default level, at once and once in a
// while, and so is that it works again.
func TestAHandlerThatFailsIsLogged(t *testing.T) {
	var log lockedBuffer
	n := newNode(t, toot.Options{RetryDelay: quickRetries, Logger: slog.New(slog.NewTextHandler(&log, nil))}, true)
	n.subscribe(t, n, "a", toot.HandlerFunc(func(_ context.Context, e *toot.Event) error {
		if e.Attempt < 4 {
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
