package enginetest

import (
	"context"
	"fmt"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/memengine"
)

var closeMutants = []mutant{
	{
		bug:      "methods work after Close",
		with:     func(b *broken) { b.close = func() error { return nil } },
		caughtBy: []string{"Close/ends_every_method_with_ErrClosed"},
	},
	{
		bug:      "a cancelled context is ignored",
		with:     func(b *broken) { b.calls = withoutCancel(b.calls) },
		caughtBy: []string{"Context/that_has_ended_ends_every_call"},
	},
	{
		bug: "Close fails the second time",
		with: func(b *broken) {
			shut, closed := b.close, false
			b.close = func() error {
				if closed {
					return fmt.Errorf("broken: %w", engine.ErrClosed)
				}
				closed = true
				return shut()
			}
		},
		caughtBy: []string{"Close/twice_is_harmless"},
	},
	{
		bug: "jobs are gone after Close",
		with: func(b *broken) {
			b.onClose(func() { b.s.inner = memengine.NewStore() })
		},
		caughtBy: []string{"Close/keeps_everything"},
	},
	{
		bug: "what was done is forgotten with Close",
		with: func(b *broken) {
			forget, _ := b.forgetting()
			b.onClose(func() {
				for k, note := range b.s.jobs {
					if !note.live {
						forget(&engine.Event{ID: k.id, Channel: k.channel, Replay: k.replay}, k.lane)
					}
				}
			})
		},
		caughtBy: []string{"Close/keeps_everything", "Close/keeps_the_dedupe_window"},
	},
	{
		bug: "calls while Close runs are lost",
		with: func(b *broken) {
			push, n := b.push, 0
			b.push = func(ctx context.Context, req engine.PushRequest) (engine.PushResult, error) {
				if n++; n > 10 {
					req.Jobs = nil
				}
				res, err := push(ctx, req)
				res.Tickets = append(res.Tickets, "")
				return res, err
			}
		},
		caughtBy: []string{"Close/waits_for_calls_under_way"},
	},
	{
		bug: "Close closes the other engines too",
		with: func(b *broken) {
			shut := b.close
			b.s.shut = append(b.s.shut, shut)
			b.close = func() error {
				for _, shut := range b.s.shut {
					_ = shut()
				}
				return nil
			}
		},
		caughtBy: []string{"Shared/engines_may_be_closed_one_by_one"},
	},
}

// onClose does something when an engine has been closed.
func (b *broken) onClose(do func()) {
	shut := b.close
	b.close = func() error {
		err := shut()
		defer b.lock()()
		do()
		return err
	}
}

// withoutCancel makes methods deaf for the end of their contexts.
func withoutCancel(c calls) calls {
	o := c
	forever := context.WithoutCancel
	c.addSubscriber = func(ctx context.Context, channel, url string, lease time.Duration) (bool, error) {
		return o.addSubscriber(forever(ctx), channel, url, lease)
	}
	c.push = func(ctx context.Context, req engine.PushRequest) (engine.PushResult, error) {
		return o.push(forever(ctx), req)
	}
	c.claim = func(ctx context.Context, req engine.ClaimRequest) (engine.ClaimResult, error) {
		return o.claim(forever(ctx), req)
	}
	return c
}
