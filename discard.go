package toot

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/internal/lanes"
	"github.com/watermarkchurch/toot-go/internal/registry"
	"github.com/watermarkchurch/toot-go/internal/wire"
)

// discardReason is why an event is not delivered whose subscriber has asked for
// that when it unsubscribed.
const discardReason = "discarded, as was asked for when the callback URL was unsubscribed"

// discardWaiting has what waits for a callback URL discarded if the request that
// unsubscribes it asks for that, and says so in the answer's header. Stores that
// can't keep such a wish say nothing there.
func (p *publisher) discardWaiting(w http.ResponseWriter, r *http.Request, reg wire.Registration) error {
	if r.URL.Query().Get(wire.DiscardParameter) != "true" {
		return nil
	}
	err := p.registry.Discard(r.Context(), reg.Channel, reg.CallbackURL)
	switch {
	case errors.Is(err, registry.ErrUnsupported):
		return nil
	case err != nil:
		return err
	}
	p.log.Info("toot: what waits for a callback URL is discarded", about(r, reg)...)
	w.Header()[wire.DiscardHeader] = []string{"True"}
	return nil
}

// deliver is deliverAll for those of the jobs that are not to be discarded.
func (p *publisher) deliver(ctx context.Context, l *lanes.Lane, jobs []*lanes.Job, verdicts []lanes.Verdict) {
	now := time.Now()
	unwanted := func(j *lanes.Job) bool {
		return p.registry.IsDiscarded(ctx, j.Event.Channel, l.Name(), j.Age(), now)
	}
	if !slices.ContainsFunc(jobs, unwanted) { // as a rule
		p.deliverAll(ctx, l, jobs, verdicts)
		return
	}
	var rest []int
	for i, j := range jobs {
		if !unwanted(j) {
			rest = append(rest, i)
			continue
		}
		_, _ = p.beginTry(ctx, StepDeliver, l, j)
		verdicts[i] = lanes.Verdict{Action: lanes.Finish, Unsubscribe: true, Reason: discardReason}
	}
	if len(rest) == 0 {
		return
	}
	some, theirs := make([]*lanes.Job, len(rest)), make([]lanes.Verdict, len(rest))
	for n, i := range rest {
		some[n] = jobs[i]
	}
	p.deliverAll(ctx, l, some, theirs)
	for n, i := range rest {
		verdicts[i] = theirs[n]
	}
}
