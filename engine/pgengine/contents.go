package pgengine

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/watermarkchurch/toot-go/engine"
)

// Registrations implements engine.Contents.
func (e *Engine) Registrations(ctx context.Context, channel string) (found []engine.Registration, err error) {
	if err := engine.ValidateChannel(channel); err != nil {
		return nil, err
	}
	err = e.try(ctx, "registrations", whole, func(ctx context.Context) error {
		found = nil
		now, _, err := e.storeTime(ctx, e.pool)
		if err != nil {
			return err
		}
		rows, err := e.pool.Query(ctx, e.sql("SELECT url, added, until FROM toot.subscribers WHERE channel = $1 AND (until = 0 OR until > $2) ORDER BY url"), e.mode, []byte(channel), now)
		if err != nil {
			return err
		}
		var url []byte
		var added, until int64
		_, err = pgx.ForEachRow(rows, []any{&url, &added, &until}, func() error {
			r := engine.Registration{CallbackURL: string(url), Age: since(added, now)}
			if until > 0 {
				r.Left = time.Duration(until-now) * time.Microsecond
			}
			found = append(found, r)
			return nil
		})
		return err
	})
	return found, err
}

// AttributeGroups implements engine.Contents.
func (e *Engine) AttributeGroups(ctx context.Context) ([]string, error) {
	return e.names(ctx, "attribute groups", whole, "SELECT DISTINCT grp FROM toot.attributes ORDER BY grp")
}

// Realms implements engine.Contents.
func (e *Engine) Realms(ctx context.Context, prefix string) ([]string, error) {
	return e.names(ctx, "realms", whole, "SELECT DISTINCT realm FROM toot.credentials WHERE substring(realm FOR length($1::bytea)) = $1::bytea ORDER BY realm", []byte(prefix))
}

// names returns the names that a query finds.
func (e *Engine) names(ctx context.Context, what string, how manner, query string, args ...any) (names []string, err error) {
	err = e.try(ctx, what, how, func(ctx context.Context) error {
		names = nil
		rows, err := e.pool.Query(ctx, e.sql(query), append([]any{e.mode}, args...)...)
		if err != nil {
			return err
		}
		var name []byte
		_, err = pgx.ForEachRow(rows, []any{&name}, func() error { names = append(names, string(name)); return nil })
		return err
	})
	return names, err
}

// laterSQL reads jobs of the lane of the kind $1 and the name $2 that nobody has
// claimed and that are due in $3 or later, no more than $4.
const laterSQL = `WITH n AS MATERIALIZED (SELECT NOW AS t FROM toot.state WHERE id = 1)
	SELECT n.t, j.ctid, j.lane, j.due, j.seq, j.claims, j.attempt, j.pushed, j.event, j.history, COALESCE(v.id, j.id), COALESCE(v.channel, j.channel),
		COALESCE(v.replay, j.replay), COALESCE(v.meta, j.meta), COALESCE(v.body, j.body)
	FROM n, toot.lanes l JOIN toot.jobs j ON j.lane = l.id LEFT JOIN toot.events v ON v.seq = j.event AND j.event <> 0
	WHERE l.kind = $1 AND l.name = $2 AND j.due >= n.t + $3 AND j.token = 0 ORDER BY j.due, j.seq LIMIT $4`

// Later implements engine.Contents.
func (e *Engine) Later(ctx context.Context, lane engine.Lane, after time.Duration, limit int) (found []engine.LaterJob, err error) {
	if err := engine.ValidateLater(lane, limit); err != nil {
		return nil, err
	}
	err = e.try(ctx, "later", whole, func(ctx context.Context) error {
		found = nil
		rows, err := e.pool.Query(ctx, e.sql(laterSQL), e.mode, int16(lane.Kind), []byte(lane.Name), micros(after), min(limit, 1<<30))
		if err != nil {
			return err
		}
		var t ticket
		var now, pushed, event int64
		var claims, attempt int
		var history, id, channel, replay, meta, body []byte
		_, err = pgx.ForEachRow(rows, []any{&now, &t.at, &t.lane, &t.due, &t.seq, &claims, &attempt, &pushed, &event, &history, &id, &channel, &replay, &meta, &body}, func() error {
			t.was, t.shared = t.due, event != 0
			found = append(found, engine.LaterJob{Due: time.Duration(t.due-now) * time.Microsecond, Claimed: engine.Claimed{
				Ticket: engine.Ticket(appendTicket(nil, &t)), Lane: lane, Attempt: attempt, History: history, Claims: claims, Age: since(pushed, now),
				Event: &engine.Event{ID: string(id), Channel: string(channel), Replay: string(replay), Meta: meta, Body: body},
			}})
			// The next row is scanned into slices of its own.
			history, id, channel, replay, meta, body, t.at = nil, nil, nil, nil, nil, nil, pgtype.TID{}
			return nil
		})
		return err
	})
	return found, err
}
