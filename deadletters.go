package toot

import (
	"context"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// DeadLetter is an event whose delivery, or whose handling, was given up on.
type DeadLetter struct {
	// ID names it for Redrive and Discard.
	ID string
	// Kind is engine.Deliver or engine.Handle.
	Kind engine.Kind
	// Lane is the callback URL, or the subscription's name. A callback URL
	// may hold credentials; RedactedLane is fit to be shown.
	Lane         string
	RedactedLane string
	EventID      string
	Channel      string
	Body         []byte // the event as it goes over the wire
	Reason       string
	BuriedAt     time.Time
	// Attempts is how many tries were made, the first one included, and Probes
	// how many probes beside them, which cost none of the retries.
	Attempts, Probes int
	Tries            []Try // the last tries and probes, oldest first
}

// DeadLetters returns dead letters, the most recently buried first. The query
// filters them; its zero value matches all. At most query.Max are returned (0
// means 100); set query.After to the last one's ID for those that follow.
func (a *App) DeadLetters(ctx context.Context, query engine.DeadQuery) ([]DeadLetter, error) {
	store, err := a.deadLetters()
	if err != nil {
		return nil, err
	}
	found, err := store.Dead(ctx, query)
	if err != nil {
		return nil, wrapf(err, "list dead letters")
	}
	letters := make([]DeadLetter, len(found))
	for i, d := range found {
		h := decodeHistory(d.History)
		letters[i] = DeadLetter{
			ID: d.ID, Kind: d.Lane.Kind, Lane: d.Lane.Name, RedactedLane: shownLane(d.Lane),
			EventID: d.Event.ID, Channel: d.Event.Channel, Body: d.Event.Body,
			Reason: d.Reason, BuriedAt: d.At, Attempts: d.Attempt, Probes: h.Probes, Tries: h.Tries,
		}
	}
	return letters, nil
}

// Redrive makes dead letters due again, with the full number of retries, and returns
// how many of the IDs it found.
func (a *App) Redrive(ctx context.Context, ids ...string) (int, error) {
	store, err := a.deadLetters()
	if err != nil {
		return 0, err
	}
	n, err := store.Redrive(ctx, ids)
	if err != nil {
		return n, wrapf(err, "redrive dead letters")
	}
	a.log.Info("toot: dead letters are sent again", append(doneBy(ctx), "dead_letters", n)...)
	return n, nil
}

// RedriveAll makes every dead letter that the query matches due again, and
// returns how many. Those buried after it began are left alone. query.Max
// bounds the number; 0 means no bound.
func (a *App) RedriveAll(ctx context.Context, query engine.DeadQuery) (int, error) {
	return a.forAll(ctx, query, a.Redrive)
}

// DiscardAll deletes every dead letter that the query matches for good, and
// returns how many. Those buried after it began are left alone. query.Max
// bounds the number; 0 means no bound.
func (a *App) DiscardAll(ctx context.Context, query engine.DeadQuery) (int, error) {
	return a.forAll(ctx, query, a.Discard)
}

func (a *App) forAll(ctx context.Context, query engine.DeadQuery, do func(context.Context, ...string) (int, error)) (int, error) {
	const page = 500
	store, err := a.deadLetters()
	if err != nil {
		return 0, err
	}
	if now := time.Now(); query.Until.IsZero() || query.Until.After(now) {
		query.Until = now
	}
	most := query.Max
	for total := 0; ; {
		query.Max = page
		if most > 0 {
			query.Max = min(page, most-total)
		}
		if query.Max == 0 {
			return total, nil
		}
		found, err := store.Dead(ctx, query)
		if err != nil {
			return total, wrapf(err, "list dead letters")
		}
		if len(found) == 0 {
			return total, nil
		}
		ids := make([]string, len(found))
		for i, d := range found {
			ids[i] = d.ID
		}
		n, err := do(ctx, ids...)
		total += n
		if err != nil || n == 0 { // 0: somebody else works on the same ones
			return total, err
		}
	}
}

// Discard deletes dead letters for good and returns how many of the IDs it
// found.
func (a *App) Discard(ctx context.Context, ids ...string) (int, error) {
	store, err := a.deadLetters()
	if err != nil {
		return 0, err
	}
	n, err := store.Discard(ctx, ids)
	if err != nil {
		return n, wrapf(err, "discard dead letters")
	}
	a.log.Info("toot: dead letters were discarded", append(doneBy(ctx), "dead_letters", n)...)
	return n, nil
}

func (a *App) deadLetters() (engine.DeadLetters, error) {
	store, ok := a.engine.(engine.DeadLetters)
	if !ok {
		return nil, wrapf(ErrUnsupported, "dead letters")
	}
	return store, nil
}
