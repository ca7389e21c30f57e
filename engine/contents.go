package engine

import (
	"context"
	"time"
)

// Contents is implemented by engines that can tell all that their store holds, so
// that it can be moved into another store, which all of toot's own do.
type Contents interface {
	// Registrations returns the subscribers of a channel, in ascending order of
	// their callback URLs, with what is known of their registrations.
	Registrations(ctx context.Context, channel string) ([]Registration, error)
	// AttributeGroups returns the names of the groups that have attributes, in
	// ascending order. There may be some among them whose last attribute has
	// come to its end.
	AttributeGroups(ctx context.Context) ([]string, error)
	// Realms returns the names of the realms that begin with prefix and have
	// users, in ascending order. An engine whose realms have names among those
	// of other programs' data, as on Redis, leaves out what does not end in
	// "toot.auth.credentials_store".
	Realms(ctx context.Context, prefix string) ([]string, error)
	// Later returns jobs of a lane that nobody has claimed and that are due in
	// after from now or later, the first limit of them in the order in which
	// they are due. It claims nothing. What Settle is told with the ticket of
	// such a job must be Done; it takes effect if the job has waited as it did
	// ever since, and the ticket is stale otherwise.
	Later(ctx context.Context, lane Lane, after time.Duration, limit int) ([]LaterJob, error)
}

// Registration is what is known of a subscriber.
type Registration struct {
	CallbackURL string
	// Age is how long ago AddSubscriber was last called for it; some years where
	// that is not known, as of one that another program has written.
	Age time.Duration
	// Left is how much longer it lasts; zero if it has no end.
	Left time.Duration
}

// LaterJob is a job that is not due yet.
type LaterJob struct {
	// Claimed is the job as a claim would hand it out, save that its Claims are
	// those so far.
	Claimed
	// Due is how long from now it is due.
	Due time.Duration
}
