package sqliteengine

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// Registrations implements engine.Contents.
func (e *Engine) Registrations(ctx context.Context, channel string) (found []engine.Registration, err error) {
	if err := engine.ValidateChannel(channel); err != nil {
		return nil, err
	}
	err = e.read(ctx, "registrations", func(c *conn) error {
		found = nil
		now := e.clock.now()
		q, ok, err := c.query("SELECT url, added, until FROM subscribers WHERE channel = ?1 AND (until = 0 OR until > ?2) ORDER BY url", channel, now)
		for ; ok && err == nil; ok, err = q.step() {
			r := engine.Registration{CallbackURL: q.text(0), Age: since(q.int(1), now)}
			if until := q.int(2); until > 0 {
				r.Left = time.Duration(until-now) * time.Microsecond
			}
			found = append(found, r)
		}
		return err
	})
	return found, err
}

// AttributeGroups implements engine.Contents.
func (e *Engine) AttributeGroups(ctx context.Context) ([]string, error) {
	return e.names(ctx, "attribute groups", "SELECT DISTINCT grp FROM attributes ORDER BY grp")
}

// Realms implements engine.Contents.
func (e *Engine) Realms(ctx context.Context, prefix string) ([]string, error) {
	realms, err := e.names(ctx, "realms", "SELECT DISTINCT realm FROM credentials ORDER BY realm")
	return slices.DeleteFunc(realms, func(realm string) bool { return !strings.HasPrefix(realm, prefix) }), err
}

// names returns the names that a query finds.
func (e *Engine) names(ctx context.Context, what, query string, args ...any) (names []string, err error) {
	err = e.read(ctx, what, func(c *conn) error {
		names = nil
		q, ok, err := c.query(query, args...)
		for ; ok && err == nil; ok, err = q.step() {
			names = append(names, q.text(0))
		}
		return err
	})
	return names, err
}

// Later implements engine.Contents.
func (e *Engine) Later(ctx context.Context, lane engine.Lane, after time.Duration, limit int) (found []engine.LaterJob, err error) {
	if err := engine.ValidateLater(lane, limit); err != nil {
		return nil, err
	}
	err = e.read(ctx, "later", func(c *conn) error {
		found = nil
		now := e.clock.now()
		q, ok, err := c.query(`SELECT j.lane, j.due, j.seq, j.claims, j.attempt, j.shared, j.pushed, j.history, e.id, e.channel, e.replay, e.meta, e.body
			FROM lanes l JOIN jobs j ON j.lane = l.id JOIN events e ON e.seq = j.seq
			WHERE l.kind = ?1 AND l.name = ?2 AND j.due >= ?3 AND j.token = 0 ORDER BY j.due, j.seq LIMIT ?4`,
			int64(lane.Kind), lane.Name, now+micros(after), limit)
		for ; ok && err == nil; ok, err = q.step() {
			event := &engine.Event{ID: q.text(8), Channel: q.text(9), Replay: q.text(10), Meta: q.bytes(11), Body: q.bytes(12)}
			t := ticket{lane: q.int(0), due: q.int(1), was: q.int(1), seq: q.int(2), shared: q.int(5) == 1, id: e.identify(event)}
			found = append(found, engine.LaterJob{Due: time.Duration(t.due-now) * time.Microsecond, Claimed: engine.Claimed{
				Ticket: engine.Ticket(appendTicket(nil, &t)), Event: event, Lane: lane,
				Attempt: int(q.int(4)), History: q.bytes(7), Claims: int(q.int(3)), Age: since(q.int(6), now),
			}})
		}
		return err
	})
	return found, err
}
