package lanes

import (
	"context"
	"log/slog"
)

// effects are what has to be done once the lock of a pool is free.
type effects struct {
	settlements []*settlement
	deferrals   []deferral
	cancelled   []Push // whose reservations are to be given back
	says        []saying
}

// saying is something for the log.
type saying struct {
	level slog.Level
	text  string
	attrs []slog.Attr
}

func (e *effects) say(level slog.Level, text string, attrs ...slog.Attr) {
	e.says = append(e.says, saying{level, text, attrs})
}

func (e *effects) isEmpty() bool {
	return len(e.settlements)+len(e.deferrals)+len(e.cancelled)+len(e.says) == 0
}

// perform does it all, and leaves e empty. No lock may be held.
func (e *effects) perform(g *Group) {
	for _, s := range e.settlements {
		g.settlements.Submit(s)
	}
	for _, d := range e.deferrals {
		g.deferrals.Submit(d)
	}
	for i := range e.cancelled {
		e.cancelled[i].Cancel()
	}
	says := e.says
	clear(e.settlements)
	e.settlements = e.settlements[:0]
	e.deferrals, e.cancelled, e.says = e.deferrals[:0], nil, nil
	for _, s := range says { // last, as a log is somebody else's code
		g.log.LogAttrs(context.Background(), s.level, s.text, s.attrs...)
	}
}
