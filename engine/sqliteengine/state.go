package sqliteengine

// readState reads the row of state, unless what is remembered of it is still
// right, and has everybody who remembers something by it look whether to go on
// doing so.
func (w *writer) readState() error {
	if w.stateKnown {
		return nil
	}
	q, _, err := w.c.query(`SELECT gen, gen_start, carry_lane IS NOT NULL, carry_lane, carry_due, carry_seq, old_keys,
		EXISTS (SELECT 1 FROM seen0), EXISTS (SELECT 1 FROM seen1),
		subscribers, clock_offset, clock_jumps, clock_at, recounts FROM state`)
	if err != nil {
		return err
	}
	defer q.reset()
	s := &w.seen
	s.gen, s.start = q.int(0), q.int(1)
	s.carrying, s.lane, s.due, s.seq = q.int(2) == 1, q.int(3), q.int(4), q.int(5)
	s.oldKeys = q.int(6)
	s.rows, s.old = q.int(7+int(s.gen)) == 1, q.int(7+int(1-s.gen)) == 1
	w.audiences.valid(q.int(9))
	w.time = clockRow{offset: q.int(10), jumps: q.int(11), at: q.int(12)}
	w.counts.valid(q.int(13))
	if w.retention, err = readRetention(w.c); err != nil {
		return err
	}
	w.stateKnown = true
	return nil
}
