package sqliteengine

import "math/rand/v2"

// Every open engine has a row in owners, which its Close removes, and marks
// its claims with the row's ID. An engine that opens the file and finds nobody
// else there knows that the owners it meets have died: their jobs are due at
// once. The jobs of an engine that was closed keep their leases.

// tokenBits is how many bits of a token are random; the owner is above them.
const tokenBits = 31

// newToken is what the rows and tickets of a transaction's claims have in
// common, and no other's.
func (w *writer) newToken() int64 {
	return w.owner<<tokenBits | (1 + rand.Int64N(1<<tokenBits-1)) //nolint:gosec // no secret
}

// enter registers the engine. If it is alone it takes back the jobs of owners
// that died and returns how many there were. Their claims stay counted: one of
// the jobs may be why the process died.
func (w *writer) enter(alone bool) (orphans int, err error) {
	err = w.transact([]*op{{run: func(w *writer) error {
		if alone {
			var err error
			if orphans, err = w.recoverLeases(); err != nil {
				return err
			}
			if _, err := w.c.run("DELETE FROM owners"); err != nil {
				return err
			}
		}
		if w.owner != 0 {
			return nil // see awaitTime
		}
		return w.register()
	}}})
	return orphans, err
}

// register makes the engine's row.
func (w *writer) register() error {
	_, err := w.c.run("INSERT INTO owners DEFAULT VALUES")
	w.owner = w.c.lastID()
	return err
}

// leave takes the engine's row away.
func (w *writer) leave() error {
	return w.transact([]*op{{run: func(w *writer) error {
		if err := w.payCounts(); err != nil {
			return err
		}
		_, err := w.c.run("DELETE FROM owners WHERE id = ?1", w.owner)
		return err
	}}})
}

func (w *writer) recoverLeases() (orphans int, err error) {
	dead, err := w.ids("SELECT uncounted FROM owners ORDER BY uncounted DESC")
	if err != nil || len(dead) == 0 {
		return 0, err
	}
	if dead[0] > 0 {
		if err := w.recount(); err != nil {
			return 0, err
		}
	}
	// Jobs change places, so a walk that carries them begins anew.
	if w.seen.carrying {
		w.seen.lane = 0
		if _, err := w.c.run("UPDATE state SET carry_lane = 0"); err != nil {
			return 0, err
		}
	}
	lanes, err := w.ids("SELECT id FROM lanes")
	if err != nil {
		return 0, err
	}
	for _, id := range lanes {
		n, err := w.c.run(`UPDATE jobs SET due = ?2, token = 0
			WHERE lane = ?1 AND due > ?2 AND token <> 0 AND token >> ?3 IN (SELECT id FROM owners)`, id, w.now, tokenBits)
		if err != nil {
			return 0, err
		}
		if n == 0 {
			continue
		}
		orphans += n
		l, err := w.laneByID(id)
		if err != nil {
			return 0, err
		}
		if l != nil {
			w.dueAt(l, w.now, true)
		}
	}
	return orphans, nil
}

// ids returns the first column of all rows.
func (w *writer) ids(sql string) (ids []int64, err error) {
	s, ok, err := w.c.query(sql)
	for ; ok && err == nil; ok, err = s.step() {
		ids = append(ids, s.int(0))
	}
	return ids, err
}
