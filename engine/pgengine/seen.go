package pgengine

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/watermarkchurch/toot-go/engine/internal/identity"
)

// The dedupe window. Which job was pushed is remembered in two tables, of which
// one (the generation) is written. Once a window has passed, the other one, by then
// at least a window old, is truncated and written from then on. So a job is
// remembered for one to two windows, and forgetting costs next to nothing.
//
// state.gen goes up with each rotation; gen & 1 is the table that is written. Who
// writes says by which generation he does so, and nothing of the statement takes
// effect if that is over: a rotation locks the table that is not written, which all
// who write read, and a statement takes its locks before it reads the generation.
//
// A job that is still there must be remembered longer: before a table is
// truncated, the jobs that only it may know are copied to the other one. All jobs
// that are stored meanwhile are in the other one already.

// table is the name of the table that is written in a generation.
func table(gen int64) string { return fmt.Sprintf("toot.seen%d", gen&1) }

// rotate begins a new generation if it is time to.
func (e *Engine) rotate(ctx context.Context) (some bool, err error) {
	gen, start, window, now := e.house.gen.Load(), e.house.genStart.Load(), e.house.dedupe.Load(), e.now()
	if start == 0 || start+window > now && start <= now {
		return false, nil
	}
	if err := e.carry(ctx, gen, start); err != nil {
		return false, err
	}
	err = e.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, e.sql("SET LOCAL lock_timeout = 50; LOCK TABLE "+table(gen+1)+" IN ACCESS EXCLUSIVE MODE")); err != nil {
			return err
		}
		// Another may be the keeper by now, and have done it.
		tag, err := tx.Exec(ctx, e.sql("UPDATE toot.state SET gen = gen + 1, gen_start = $3 WHERE gen = $1 AND gen_start = $2"), e.mode, gen, start, now)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		if _, err := tx.Exec(ctx, e.sql("TRUNCATE "+table(gen+1))); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, e.sql(`DELETE FROM toot.lanes l WHERE l.next = $1 AND l.deferred <= $2 AND l.idle < $3
			AND NOT EXISTS (SELECT 1 FROM toot.jobs j WHERE j.lane = l.id)`), e.mode, never, now, now-4*window)
		return err
	})
	if conflict(err) {
		return false, nil // somebody reads the table, such as a dump
	}
	return true, err
}

// carryChunk is how many keys are written at a time.
const carryChunk = 2000

// carry copies the keys of the jobs that were there before the generation began to
// its table.
func (e *Engine) carry(ctx context.Context, gen, start int64) error {
	const margin = 60_000_000 // processes reckon the time, and may take long to push
	rows, err := e.pool.Query(ctx, e.sql(`SELECT j.lane, COALESCE(v.id, j.id), COALESCE(v.channel, j.channel), COALESCE(v.replay, j.replay)
		FROM toot.jobs j LEFT JOIN toot.events v ON v.seq = j.event WHERE j.pushed < $1`), e.mode, start+margin)
	if err != nil {
		return err
	}
	defer rows.Close()
	var keys [][]byte
	flush := func() error {
		if len(keys) == 0 {
			return nil
		}
		_, err := e.pool.Exec(ctx, e.sql("INSERT INTO "+table(gen)+" SELECT k FROM unnest($1::bytea[]) k, toot.state WHERE gen = $2 ON CONFLICT DO NOTHING"), e.mode, keys, gen)
		keys = keys[:0]
		return err
	}
	for rows.Next() {
		var lane int64
		var id, channel, replay []byte
		if err := rows.Scan(&lane, &id, &channel, &replay); err != nil {
			return err
		}
		i := identity.Of(&e.salt, string(channel), string(id), string(replay))
		if keys = append(keys, identity.AppendKey(nil, &i, lane)); len(keys) == carryChunk {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return errors.Join(rows.Err(), flush())
}

// vacuum vacuums the tables that change most while they do: autovacuum looks once
// a minute, in which time they would grow by as much as is written.
func (e *Engine) vacuum(ctx context.Context) (some bool, err error) {
	var jobs, lanes, counts int64
	err = e.pool.QueryRow(ctx, e.sql("SELECT pg_stat_get_dead_tuples($1::regclass), pg_stat_get_dead_tuples($2::regclass), pg_stat_get_dead_tuples($3::regclass)"), e.mode,
		e.sql("toot.jobs"), e.sql("toot.lanes"), e.sql("toot.counts")).Scan(&jobs, &lanes, &counts)
	if err != nil {
		return false, err
	}
	const enough = 5000
	for name, dead := range map[string]int64{"toot.jobs": jobs, "toot.lanes": 10 * lanes, "toot.counts": 10 * counts} {
		if dead < enough {
			continue
		}
		if _, err := e.pool.Exec(ctx, e.sql("VACUUM (SKIP_LOCKED, TRUNCATE off) "+name)); err != nil {
			return true, err
		}
		some = true
	}
	return some, nil
}

// tidy deletes what has ended and is not seen any more.
func (e *Engine) tidy(ctx context.Context) (some bool, err error) {
	r, err := e.readRetention(ctx, e.pool)
	if err != nil {
		return false, err
	}
	now := e.now()
	for _, table := range []string{"subscribers", "attributes", "memory"} {
		if _, err := e.pool.Exec(ctx, e.sql("DELETE FROM toot."+table+" WHERE until > 0 AND until <= $1"), e.mode, now); err != nil {
			return false, err
		}
	}
	if _, err := e.pool.Exec(ctx, e.sql("DELETE FROM toot.dead WHERE at < $1"), e.mode, now-r.DeadAge.Microseconds()); err != nil {
		return false, err
	}
	// Two settlements that end an event's last jobs at once each see the other's.
	_, err = e.pool.Exec(ctx, e.sql(`DELETE FROM toot.events v WHERE NOT EXISTS (SELECT 1 FROM toot.jobs j WHERE j.event = v.seq AND j.event <> 0)`), e.mode)
	return false, err
}
