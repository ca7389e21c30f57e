package enginetest

import (
	"context"
	"errors"

	"github.com/watermarkchurch/toot-go/engine"
)

var pingChecks = []check{
	{"answers_while_the_engine_is_open", 0, pingOpen},
	{"returns_ErrClosed_after_Close", 0, pingClosed},
	{"returns_the_error_of_a_context_that_has_ended", 0, pingContext},
}

func (c *client) ping(rule string) {
	c.e.Helper()
	if err := c.Ping(c.e.ctx); err != nil {
		c.e.Fatalf("%s: engine %s: Ping: %v", rule, c.name, err)
	}
}

func pingOpen(e *env) {
	a, l := e.open(), deliver("lane")
	a.ping("Ping of an empty store answers")
	a.push(job("e", l))
	for range 20 {
		a.ping("Ping answers")
	}
	a.one("Ping claims nothing", l)
	a.none("Ping stores nothing", l)
	if all := a.channels(""); len(all) != 0 {
		e.Errorf("Ping must add no subscriber: got %q", all)
	}
}

func pingClosed(e *env) {
	a := e.open()
	a.ping("Ping answers")
	a.close()
	if err := a.Ping(e.ctx); !errors.Is(err, engine.ErrClosed) {
		e.Errorf("Ping must return ErrClosed after Close: got %v", err)
	}
	e.open().ping("Ping answers through an engine opened later")
}

func pingContext(e *env) {
	a := e.open()
	a.ping("Ping answers")
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	if err := a.Ping(ctx); !errors.Is(err, context.Canceled) {
		e.Errorf("Ping with a context that has ended must return its error: got %v", err)
	}
	a.ping("Ping answers after one whose context had ended")
}
