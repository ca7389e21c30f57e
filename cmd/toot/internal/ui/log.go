package ui

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// LogHandler is a slog.Handler for people who watch a log on a terminal: the
// time of day, the message, what it is about. Where nobody watches, use those
// of log/slog.
type LogHandler struct {
	out    *UI
	level  slog.Leveler
	mu     *sync.Mutex
	before string // what WithAttrs has made of its attributes
	prefix string // the open groups
}

// NewLogHandler returns a handler that writes to a terminal.
func (u *UI) NewLogHandler(level slog.Leveler) *LogHandler {
	return &LogHandler{out: u, level: level, mu: &sync.Mutex{}}
}

// Enabled implements slog.Handler.
func (h *LogHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.level.Level()
}

// Handle implements slog.Handler.
func (h *LogHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	if !r.Time.IsZero() {
		b.WriteString(h.out.Paint(Dim, r.Time.Format("15:04:05.000")) + "  ")
	}
	message := Clean(strings.TrimPrefix(r.Message, "toot: "))
	switch {
	case r.Level >= slog.LevelError:
		b.WriteString(h.out.Paint(Red, "✗ "+message))
	case r.Level >= slog.LevelWarn:
		b.WriteString(h.out.Paint(Yellow, "! "+message))
	case r.Level >= slog.LevelInfo:
		b.WriteString("  " + message)
	default:
		b.WriteString(h.out.Paint(Dim, "· "+message))
	}
	b.WriteString(h.before)
	r.Attrs(func(a slog.Attr) bool {
		h.attribute(&b, h.prefix, a)
		return true
	})
	b.WriteByte('\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := h.out.Write([]byte(b.String()))
	return err
}

func (h *LogHandler) attribute(b *strings.Builder, prefix string, a slog.Attr) {
	value := a.Value.Resolve()
	switch {
	case a.Equal(slog.Attr{}):
		return
	case value.Kind() == slog.KindGroup:
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, inner := range value.Group() {
			h.attribute(b, prefix, inner)
		}
		return
	}
	text := value.String()
	if value.Kind() == slog.KindDuration {
		text = value.Duration().Round(time.Millisecond).String()
	}
	if clean := Clean(text); clean != text || strings.ContainsAny(text, " \"=") {
		text = fmt.Sprintf("%q", text)
	}
	color := Plain
	switch a.Key {
	case "error", "panic":
		color = Red
	case "channel", "url":
		color = Cyan
	}
	b.WriteString("  " + h.out.Paint(Dim, Clean(prefix+a.Key)+"=") + h.out.Paint(color, text))
}

// WithAttrs implements slog.Handler.
func (h *LogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var b strings.Builder
	for _, a := range attrs {
		h.attribute(&b, h.prefix, a)
	}
	more := *h
	more.before += b.String()
	return &more
}

// WithGroup implements slog.Handler.
func (h *LogHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	more := *h
	more.prefix += name + "."
	return &more
}
