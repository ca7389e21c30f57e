package enginetest

import (
	"context"
	"errors"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

var contextChecks = []check{
	{"that_has_ended_ends_every_call", 0, contextEnded},
	{"that_ends_leaves_the_engine_usable", 0, contextEnds},
}

// methods are calls of each method that touches the store. A ticket and the ID
// of a dead letter that are good make sure that it is touched.
func (c *client) methods(ticket engine.Ticket, dead string) map[string]func(context.Context) error {
	m := map[string]func(context.Context) error{
		"AddSubscriber":    func(ctx context.Context) error { _, err := c.AddSubscriber(ctx, channel, url1, 0); return err },
		"RemoveSubscriber": func(ctx context.Context) error { _, err := c.RemoveSubscriber(ctx, channel, url1, 0); return err },
		"Subscribers":      func(ctx context.Context) error { _, err := c.Subscribers(ctx, channel); return err },
		"Channels":         func(ctx context.Context) error { _, err := c.Channels(ctx, ""); return err },
		"Push": func(ctx context.Context) error {
			_, err := c.Push(ctx, engine.PushRequest{Jobs: []engine.Job{job("closed", deliver("lane"))}})
			return err
		},
		"Claim": func(ctx context.Context) error {
			_, err := c.Claim(ctx, engine.ClaimRequest{Kind: engine.Deliver, Max: 1, MaxPerLane: 1, Lease: long})
			return err
		},
		"Settle": func(ctx context.Context) error {
			_, err := c.Settle(ctx, []engine.Outcome{{Ticket: ticket, Result: engine.Release}})
			return err
		},
		"Push for an audience": func(ctx context.Context) error {
			_, err := c.Push(ctx, engine.PushRequest{Channels: []string{channel}, MaxSubscribers: 1})
			return err
		},
		"Ping":  c.Ping,
		"Defer": func(ctx context.Context) error { return c.Defer(ctx, deliver("lane"), time.Millisecond) },
	}
	if d, ok := c.Engine.(engine.DeadLetters); ok {
		m["Dead"] = func(ctx context.Context) error { _, err := d.Dead(ctx, engine.DeadQuery{}); return err }
		m["Redrive"] = func(ctx context.Context) error { _, err := d.Redrive(ctx, []string{dead}); return err }
		m["Discard"] = func(ctx context.Context) error { _, err := d.Discard(ctx, []string{dead}); return err }
	}
	if i, ok := c.Engine.(engine.Inspector); ok {
		m["Lanes"] = func(ctx context.Context) error { _, err := i.Lanes(ctx); return err }
		m["LanePage"] = func(ctx context.Context) error { _, err := i.LanePage(ctx, engine.LaneQuery{}); return err }
	}
	if k, ok := c.Engine.(engine.Credentials); ok {
		m["Credential"] = func(ctx context.Context) error { _, err := k.Credential(ctx, realm, "user"); return err }
		m["Usernames"] = func(ctx context.Context) error { _, err := k.Usernames(ctx, realm); return err }
		m["PutCredential"] = func(ctx context.Context) error { return k.PutCredential(ctx, realm, "user", []byte("proof")) }
		m["RemoveCredential"] = func(ctx context.Context) error { _, err := k.RemoveCredential(ctx, realm, "user"); return err }
	}
	if k, ok := c.Engine.(engine.Attributes); ok {
		m["Attribute"] = func(ctx context.Context) error { _, err := k.Attribute(ctx, "group", "name"); return err }
		m["Attributes"] = func(ctx context.Context) error { _, err := k.Attributes(ctx, "group"); return err }
		m["SwapAttribute"] = func(ctx context.Context) error {
			_, err := k.SwapAttribute(ctx, "group", "name", nil, []byte("value"), 0)
			return err
		}
	}
	if k, ok := c.Engine.(engine.Retainer); ok {
		m["Retention"] = func(ctx context.Context) error { _, err := k.Retention(ctx); return err }
	}
	if k, ok := c.Engine.(engine.Memory); ok {
		m["Remember"] = func(ctx context.Context) error {
			_, err := k.Remember(ctx, "key", []byte("value"), time.Hour)
			return err
		}
	}
	return m
}

func contextEnded(e *env) {
	a := e.open()
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	l := engine.Lane{Kind: engine.Handle, Name: "lane"}
	ticket := a.push(engine.Job{Event: event("leased"), Lane: l, Lease: long})[0]
	dead := "unknown"
	if !e.h.NoDeadLetters {
		a.bury(event("dead"), l, "reason")
		dead = a.deadN(1, engine.DeadQuery{})[0].ID
	}
	for name, call := range a.methods(ticket, dead) {
		if err := call(ctx); !errors.Is(err, context.Canceled) {
			e.Errorf("%s with a context that has ended must return its error: got %v", name, err)
		}
	}
	for name, call := range a.methods(ticket, dead) {
		if err := call(e.ctx); err != nil {
			e.Errorf("%s must work after a call whose context had ended: %v", name, err)
		}
	}
}

// Calls are cut off at every moment. Each either took effect or did not, and
// none leaves the engine, or a job, locked.
func contextEnds(e *env) {
	a, l := e.open(), deliver("lane")
	for i := range 60 {
		ctx, cancel := context.WithTimeout(e.ctx, time.Duration(i)*50*time.Microsecond)
		_, err := a.Push(ctx, engine.PushRequest{Jobs: jobs("e", 20, l)})
		if err == nil {
			_, err = a.Claim(ctx, engine.ClaimRequest{Kind: engine.Deliver, Max: 3, MaxPerLane: 3, Lease: brief})
		}
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			e.Errorf("a call whose context ends while it waits must return the context's error: got %v", err)
		}
	}
	a.push(jobs("e", 20, l)...)
	got := map[string]bool{}
	e.eventually("a call that was cut off leaves no job locked for longer than its lease", func() bool {
		js := a.take(l)
		for _, j := range js {
			got[j.Event.ID] = true
		}
		a.done(js...)
		return len(got) == 20
	})
	a.none("a call that was cut off stores no job twice", l)
}
