package toot

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/watermarkchurch/toot-go/internal/wire"
)

// readBody reads the body of a request, or answers why it can't. If ok, the
// caller calls Done of the body once the request is answered.
func (c *core) readBody(w http.ResponseWriter, r *http.Request) (body wire.Body, ok bool) {
	return wire.ReadBody(w, r, wire.BodyLimits{
		Bytes: int64(c.opts.MaxEventBytes), Depth: c.opts.wireDepth(), Shown: c.opts.MaxDepth, Within: c.opts.ReadTimeout,
		Intake: c.intake,
	})
}

// wireDepth is how deep a body may nest: an event has its payload in it, a
// batch its events.
func (o *Options) wireDepth() int {
	if o.MaxDepth < 0 {
		return -1
	}
	return o.MaxDepth + 2
}

// busy answers that there is more to do than can be taken on.
func busy(w http.ResponseWriter) {
	wire.Unavailable(w, "Too many events are waiting to be handled here. Nothing was stored; please send it again later.")
}

// unavailable answers that nothing was stored and that it may be sent again.
func unavailable(w http.ResponseWriter) {
	wire.Unavailable(w, "The store can't be reached at the moment. Nothing was stored; please send it again.")
}

// notStored answers that events could not be stored, or that this is not known.
func notStored(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, ErrBusy):
		wire.Unavailable(w, "Too many requests are waiting for the store here. Nothing was stored; please send it again later.")
	case errors.Is(err, ErrUncertain):
		wire.Unavailable(w, "The store's answer did not arrive, so that it is not known whether this was stored. Please send it again: what was stored is recognised by its ID.")
	default:
		unavailable(w)
	}
}

// checkChannel returns an ErrInvalidChannel for what is no channel's full name.
func checkChannel(channel string) error {
	if err := wire.CheckChannel(channel); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidChannel, err)
	}
	return nil
}
