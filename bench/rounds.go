package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// bench measures rows.
type bench struct {
	options
	dir      string
	progress *progress
	stages   int
}

// measureAll measures rows in rounds, so that a machine that is slower for a
// while is so for all of them, and the raw limit before and after each, so
// that the ratio compares what was measured within the same seconds.
func (b *bench) measureAll(ctx context.Context, rows []row) ([]*result, error) {
	results := make([]*result, len(rows))
	for i, r := range rows {
		results[i] = &result{Name: r.name, About: r.about, against: r.against}
	}
	raw := results[0] // see choose
	before, err := b.measureRaw(ctx)
	if err != nil {
		return nil, err
	}
	for round := range b.rounds {
		for i, r := range rows {
			if r.run == nil || r.once && round > 0 {
				continue
			}
			b.progress.say("round %d of %d: %s", round+1, b.rounds, r.name)
			s, err := b.play(ctx, r)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", r.name, err)
			}
			after, err := b.measureRaw(ctx)
			if err != nil {
				return nil, err
			}
			raw.add(after, after.rate())
			results[i].add(s, (before.rate()+after.rate())/2)
			before = after
		}
	}
	if len(rows) == 1 {
		raw.add(before, before.rate())
	}
	b.progress.done()
	for _, r := range results {
		r.summarize()
	}
	return results, nil
}

// play runs one row on a stage of its own.
func (b *bench) play(ctx context.Context, r row) (sample, error) {
	b.stages++
	s := &stage{dir: filepath.Join(b.dir, fmt.Sprint(b.stages))}
	if b.profile != "" && b.stages <= len(rowSets[b.set](b.options)) {
		s.profile = filepath.Join(b.profile, strings.ReplaceAll(r.name, "/", "-"))
	}
	if err := os.Mkdir(s.dir, 0o750); err != nil {
		return sample{}, err
	}
	result, err := r.run(ctx, b, s)
	if closeErr := s.close(); err == nil {
		err = closeErr
	}
	return result, err
}
