package pgengine

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/watermarkchurch/toot-go/engine"
)

// AddSubscriber implements engine.Engine.
func (e *Engine) AddSubscriber(ctx context.Context, channel, callbackURL string, lease time.Duration) (added bool, err error) {
	if err := engine.ValidateSubscriber(channel, callbackURL); err != nil {
		return false, err
	}
	err = e.try(ctx, "add subscriber", again, func(ctx context.Context) error {
		return e.inTx(ctx, func(tx pgx.Tx) error {
			r, err := e.registration(ctx, tx, channel, callbackURL)
			if err != nil {
				return err
			}
			added = !r.lives
			until := end(r.now, lease)
			_, err = tx.Exec(ctx, e.sql(`INSERT INTO toot.subscribers (channel, url, added, until) VALUES ($1, $2, $3, $4)
				ON CONFLICT (channel, url) DO UPDATE SET added = $3, until = $4`), e.mode, []byte(channel), []byte(callbackURL), r.now, until)
			if err != nil || r.lives && (until == 0 || r.until > 0 && until >= r.until) {
				return err // nobody's memory is wrong, see audiences
			}
			return e.countChange(ctx, tx)
		})
	})
	return added && err == nil, err
}

// RemoveSubscriber implements engine.Engine.
func (e *Engine) RemoveSubscriber(ctx context.Context, channel, callbackURL string, olderThan time.Duration) (removed bool, err error) {
	if err := engine.ValidateChannel(channel); err != nil {
		return false, err
	}
	err = e.try(ctx, "remove subscriber", again, func(ctx context.Context) error {
		return e.inTx(ctx, func(tx pgx.Tx) error {
			removed = false
			r, err := e.registration(ctx, tx, channel, callbackURL)
			if err != nil || !r.lives || olderThan > 0 && r.now-r.added < micros(olderThan) {
				return err
			}
			if _, err := tx.Exec(ctx, e.sql("DELETE FROM toot.subscribers WHERE channel = $1 AND url = $2"), e.mode, []byte(channel), []byte(callbackURL)); err != nil {
				return err
			}
			removed = true
			return e.countChange(ctx, tx)
		})
	})
	return removed && err == nil, err
}

// countChange notes that what is remembered of audiences is wrong. It is the last
// that is done in a transaction, since all others that change something wait for it.
func (e *Engine) countChange(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, e.sql("UPDATE toot.state SET subscribers = subscribers + 1"))
	return err
}

// registration is a row of subscribers. One that has ended does not live.
type registration struct {
	lives        bool
	added, until int64
	now          int64 // when it was read
}

// registration reads a row and keeps others from changing it, or from making it.
func (e *Engine) registration(ctx context.Context, tx pgx.Tx, channel, url string) (r registration, err error) {
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 747))", e.mode, e.schema+" "+hexed(channel)+" "+hexed(url)); err != nil {
		return r, err
	}
	if r.now, _, err = e.storeTime(ctx, tx); err != nil {
		return r, err
	}
	err = tx.QueryRow(ctx, e.sql("SELECT added, until FROM toot.subscribers WHERE channel = $1 AND url = $2 FOR UPDATE"), e.mode, []byte(channel), []byte(url)).Scan(&r.added, &r.until)
	if err == pgx.ErrNoRows { //nolint:errorlint // Scan returns it as it is
		return r, nil
	}
	r.lives = err == nil && (r.until == 0 || r.until > r.now)
	return r, err
}

// Subscribers implements engine.Engine.
func (e *Engine) Subscribers(ctx context.Context, channel string) (urls []string, err error) {
	if err := engine.ValidateChannel(channel); err != nil {
		return nil, err
	}
	err = e.try(ctx, "subscribers", again, func(ctx context.Context) error {
		found, err := e.audience(ctx, []string{channel}, moment{})
		if err == nil {
			urls = found[0].urls
		}
		return err
	})
	return urls, err
}

// Channels implements engine.Engine.
func (e *Engine) Channels(ctx context.Context, prefix string) (channels map[string][]string, err error) {
	err = e.try(ctx, "channels", whole, func(ctx context.Context) error {
		channels = map[string][]string{}
		now, _, err := e.storeTime(ctx, e.pool)
		if err != nil {
			return err
		}
		rows, err := e.pool.Query(ctx, e.sql(`SELECT channel, url FROM toot.subscribers
			WHERE channel >= $1 AND substring(channel FOR length($1)) = $1 AND (until = 0 OR until > $2) ORDER BY channel, url`), e.mode, []byte(prefix), now)
		if err != nil {
			return err
		}
		var channel, url []byte
		_, err = pgx.ForEachRow(rows, []any{&channel, &url}, func() error {
			channels[string(channel)] = append(channels[string(channel)], string(url))
			return nil
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return channels, nil
}
