package ui

import (
	"bytes"
	"errors"
	"log/slog"
	"testing"
	"time"
)

func TestLogHandlerLaysOutLines(t *testing.T) {
	var b bytes.Buffer
	log := slog.New((&UI{Writer: &b}).NewLogHandler(slog.LevelInfo))
	log.Debug("not this")
	log = log.With("store", "sqlite:toot.db").WithGroup("g").With(slog.Group("h", "a", 1))
	log.Info("toot: serving", "after", 1500*time.Microsecond)
	log.WithGroup("").Warn("slow", "error", errors.New("two\nlines \x1b[31m"))
	log.Error("gone", slog.Attr{}, "empty", "")
	got := b.String()
	const stamp = len("15:04:05.000")
	var lines string
	for line := range bytes.Lines([]byte(got)) {
		lines += string(line[stamp:])
	}
	want := "    serving  store=sqlite:toot.db  g.h.a=1  g.after=2ms\n" +
		"  ! slow  store=sqlite:toot.db  g.h.a=1  g.error=\"two\\nlines \\x1b[31m\"\n" +
		"  ✗ gone  store=sqlite:toot.db  g.h.a=1  g.empty=\n"
	if lines != want {
		t.Errorf("got\n%s\nwant\n%s", lines, want)
	}
}
