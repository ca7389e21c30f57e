package enginetest

import "github.com/watermarkchurch/toot-go/engine"

func (c *client) letters() engine.DeadLetters {
	c.e.Helper()
	d, ok := c.Engine.(engine.DeadLetters)
	if !ok {
		c.e.Fatal("the engine must implement engine.DeadLetters, or the harness say NoDeadLetters")
	}
	return d
}

func (c *client) dead(q engine.DeadQuery) []engine.Dead {
	c.e.Helper()
	dead, err := c.letters().Dead(c.e.ctx, q)
	if err != nil {
		c.e.Fatalf("engine %s: Dead(%+v): %v", c.name, q, err)
	}
	return dead
}

func (c *client) discard(want int, ids ...string) {
	c.e.Helper()
	n, err := c.letters().Discard(c.e.ctx, ids)
	if err != nil {
		c.e.Fatalf("engine %s: Discard(%q): %v", c.name, ids, err)
	}
	if n != want {
		c.e.Fatalf("Discard must say how many of the IDs it found: got %d for %q, want %d", n, ids, want)
	}
}

func (c *client) redrive(want int, ids ...string) {
	c.e.Helper()
	n, err := c.letters().Redrive(c.e.ctx, ids)
	if err != nil {
		c.e.Fatalf("engine %s: Redrive(%q): %v", c.name, ids, err)
	}
	if n != want {
		c.e.Fatalf("Redrive must say how many of the IDs it found: got %d for %q, want %d", n, ids, want)
	}
}
