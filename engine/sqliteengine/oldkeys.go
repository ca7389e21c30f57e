package sqliteengine

import (
	"encoding/binary"

	"github.com/watermarkchurch/toot-go/engine/internal/identity"
)

// Until version 4 of the schema a job was known by its event's ID and its lane
// alone. The keys that were in seen at the upgrade stay there until their
// generations are over, for one to two windows. So long a job is looked for
// under its old key, too: one that was done just before the upgrade must not
// be done again. Jobs that still wait are carried under their new keys.

// leaveOutOld takes out of a batch the jobs that are known under old keys.
func (w *writer) leaveOutOld(b *jobBatch) error {
	if w.seen.oldKeys == 0 {
		return nil
	}
	var key []byte
	for i := range b.jobs {
		j := &b.jobs[i]
		e := &b.events[j.event]
		if !j.fresh {
			continue
		}
		id, err := w.oldID(e)
		if err != nil {
			return err
		}
		if id == "" {
			continue
		}
		key = binary.AppendUvarint(identity.AppendID(key[:0], id), uint64(j.lane.id)) //nolint:gosec // not negative
		q, _, err := w.c.query("SELECT EXISTS (SELECT 1 FROM seen0 WHERE key = ?1) OR EXISTS (SELECT 1 FROM seen1 WHERE key = ?1)", key)
		if err != nil {
			return err
		}
		known := q.int(0) == 1
		q.reset()
		if known {
			j.fresh = false
			e.fresh--
		}
	}
	return nil
}

// oldID is the ID of an event, which is read if it is that of a settled job.
// Empty if it carries a replay mark: there were none before the upgrade.
func (w *writer) oldID(e *newEvent) (string, error) {
	if e.event != nil {
		if e.event.Replay != "" {
			return "", nil
		}
		return e.event.ID, nil
	}
	q, ok, err := w.c.query("SELECT iif(replay IS NULL, id, '') FROM events WHERE seq = ?1", e.seq)
	if err != nil || !ok {
		return "", err
	}
	defer q.reset()
	return q.text(0), nil
}
