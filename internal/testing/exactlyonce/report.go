package exactlyonce

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Report is what came of a run.
type Report struct {
	Seed       uint64
	Rounds     int
	Transfers  int // that were committed by who made them
	Kills      int // of processes and servers
	Duplicates int // requests that were sent again on purpose, and answered with success
	Stopped    int // duplicates that the inboxes stopped, these and others
	Happened   map[string]int
	Timeline   []string // what happened, and when
	// Wrong is what is not as it has to be: a transfer that was credited twice,
	// or not at all, an account whose balance is not right.
	Wrong []string
}

func (r *run) report() Report {
	rep := Report{Seed: r.Seed, Rounds: r.Rounds, Kills: r.kills, Happened: r.happened, Timeline: r.timeline}
	for _, road := range r.roads {
		if road != nil {
			rep.Duplicates += road.duplicates()
		}
	}
	return rep
}

// reckon reads what the banks have written, and notes what is wrong.
func (r *Report) reckon(ctx context.Context, c *Config) (err error) {
	if r.Stopped, err = tallied(c.Dir); err != nil {
		return err
	}
	var ledgers [2]ledger
	for i, b := range c.Banks {
		if ledgers[i], err = readLedger(ctx, b); err != nil {
			return err
		}
		r.Transfers += len(ledgers[i].debits)
	}
	r.Wrong = reckon(ledgers)
	return nil
}

// String is a line of what came of it, and one of what happened.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "rounds %d, transfers %d, kills %d, duplicates sent on purpose %d, stopped by an inbox %d, wrong: %d (seed %d)\n   ",
		r.Rounds, r.Transfers, r.Kills, r.Duplicates, r.Stopped, len(r.Wrong), r.Seed)
	for i, name := range slices.Sorted(maps.Keys(r.Happened)) {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, " %d × %s", r.Happened[name], name)
	}
	return b.String()
}
