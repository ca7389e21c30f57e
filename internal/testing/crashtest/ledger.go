package crashtest

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// entry is the kind of a line in a ledger. The rest of the line is the time in
// nanoseconds and the ID of an event, after the name of a subscription where
// there is one.
type entry string

const (
	acknowledged entry = "acknowledged" // Publish returned nil
	received     entry = "received"     // a callback came in
	accepted     entry = "accepted"     // and was answered 200
	begun        entry = "begun"        // a handler begins
	handled      entry = "handled"      // it is about to return nil
	failed       entry = "failed"       // it is about to return an error
)

// ledger is what one process writes down. Each line is one write to a file,
// which survives the process.
type ledger struct{ file *os.File }

func openLedger(name string) (*ledger, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return &ledger{f}, err
}

// write panics rather than let something be missing.
func (l *ledger) write(e entry, text string) {
	if _, err := fmt.Fprintf(l.file, "%s %d %s\n", e, time.Now().UnixNano(), text); err != nil {
		panic(err)
	}
}

func (l *ledger) sync() {
	if err := l.file.Sync(); err != nil {
		panic(err)
	}
}

// Report is what the ledgers say.
type Report struct {
	Seed          uint64
	Rounds        int // in which something was killed
	Kills         int // of processes
	StoreKills    int // of the stores' server
	Events        int // that were acknowledged
	Lost          int // of those, not handled by each subscription
	LostCallbacks int // answered 200, but not handled by each subscription
	// Troubles is how often other things happened, by name.
	Troubles map[string]int
	// SeenTwice counts further arrivals of an event at the endpoint, and
	// HandledTwice further runs of a handler that had succeeded before, each
	// with its reason in Repeats.
	SeenTwice    int
	HandledTwice int
	Repeats      []string
	// Unexplained are runs beside or after another one for which neither the
	// death of that one's process nor the end of its lease is an excuse.
	Unexplained int
	// CutShort counts runs of handlers that their process did not survive.
	CutShort int
	// Unrecorded is the longest time between a success that was repeated and
	// the death of its process, for which it did not get into the store.
	Unrecorded time.Duration
	Examples   []string // of what went wrong
	Timeline   []string // what happened, and when
}

// OK reports whether everything that is promised was kept.
func (r Report) OK() bool { return r.Lost == 0 && r.LostCallbacks == 0 && r.Unexplained == 0 }

// maxShown is how many of Report.Repeats are shown.
const maxShown = 50

// String tells what happened and what came of it, in lines of names and counts.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "  what happened    %d rounds (seed %d), %d kills of processes, %d of the store", r.Rounds, r.Seed, r.Kills, r.StoreKills)
	for _, name := range slices.Sorted(maps.Keys(r.Troubles)) {
		fmt.Fprintf(&b, ", %d %s", r.Troubles[name], name)
	}
	fmt.Fprintf(&b, "\n  events           %d acknowledged, %d lost; %d callbacks lost\n", r.Events, r.Lost, r.LostCallbacks)
	fmt.Fprintf(&b, "  more than once   %d seen by the endpoint, %d handled, %d of these unexplained\n", r.SeenTwice, r.HandledTwice, r.Unexplained)
	fmt.Fprintf(&b, "  runs cut short   %d; a success was unrecorded for %v at most\n", r.CutShort, r.Unrecorded.Round(time.Millisecond))
	slices.Sort(r.Repeats)
	for i, repeat := range r.Repeats {
		if i == maxShown {
			fmt.Fprintf(&b, "    and %d more\n", len(r.Repeats)-i)
			break
		}
		fmt.Fprintf(&b, "    %s\n", repeat)
	}
	return b.String()
}

// life is one run of a handler.
type life struct {
	process    string
	begun, end time.Time
	result     entry // handled, failed, or begun if its process did not survive
}

// reconcile compares the ledgers.
func reconcile(r *run) (Report, error) {
	report := Report{Seed: r.Seed, Rounds: r.rounds, Kills: len(r.killed), StoreKills: r.stores, Troubles: r.troubles, Timeline: r.timeline}
	acks, accepts := map[string]bool{}, map[string]bool{}
	arrivals := map[string]int{}
	lives := map[string][]*life{} // by subscription and event
	files, err := filepath.Glob(filepath.Join(r.Dir, "*.ledger"))
	if err != nil {
		return report, err
	}
	for _, name := range files {
		process := strings.TrimSuffix(filepath.Base(name), ".ledger")
		_, killed := r.killed[process]
		open := map[string]*life{}
		err := eachLine(name, func(e entry, at time.Time, text string) {
			switch e {
			case acknowledged:
				acks[text] = true
			case received:
				arrivals[text]++
			case accepted:
				accepts[text] = true
			case begun:
				if open[text] != nil {
					report.Unexplained++
					report.example("%s was run twice at the same time by %s", text, process)
				}
				open[text] = &life{process: process, begun: at, result: begun}
				lives[text] = append(lives[text], open[text])
			case handled, failed:
				open[text].end, open[text].result = at, e
				delete(open, text)
			}
		})
		if err != nil {
			return report, err
		}
		report.CutShort += len(open)
		if len(open) > 0 && !killed {
			return report, fmt.Errorf("%s was not killed, but %d of its handlers did not end", process, len(open))
		}
	}
	report.Events = len(acks)
	lost := func(id string) (n int) {
		for _, subscription := range []string{"first", "second"} {
			if !slices.ContainsFunc(lives[subscription+" "+id], func(l *life) bool { return l.result == handled }) {
				n = 1
				report.example("%s was not handled by %s", id, subscription)
			}
		}
		return n
	}
	for id := range acks {
		report.Lost += lost(id)
	}
	for id := range accepts {
		report.LostCallbacks += lost(id)
	}
	for _, n := range arrivals {
		report.SeenTwice += n - 1
	}
	for what, runs := range lives {
		r.explain(&report, what, runs)
	}
	return report, nil
}

// explain looks for runs of a handler that followed one which had succeeded,
// or which was still under way. There are two excuses: that one's process died,
// or stood still for longer than its lease, before the other began.
func (r *run) explain(report *Report, what string, runs []*life) {
	slices.SortFunc(runs, func(a, b *life) int { return a.begun.Compare(b.begun) })
	for i, later := range runs {
		repeats := false
		for _, earlier := range runs[:i] {
			if earlier.result == failed && earlier.end.Before(later.begun) {
				continue
			}
			excuse := r.excuse(earlier, later)
			switch {
			case excuse == "":
				report.Unexplained++
				report.example("%s was run by %s (%s) at %s and again by %s, %v after the first began",
					what, earlier.process, earlier.result, earlier.begun.Format("15:04:05.000"), later.process, later.begun.Sub(earlier.begun))
			case earlier.result == handled:
				repeats = true
				report.Repeats = append(report.Repeats, fmt.Sprintf("%s: by %s, %s; and by %s", what, earlier.process, excuse, later.process))
				if death, killed := r.killed[earlier.process]; killed && death.Before(later.begun) {
					report.Unrecorded = max(report.Unrecorded, death.Sub(earlier.end))
				}
			}
		}
		if repeats {
			report.HandledTwice++
		}
	}
}

// excuse is why a run may follow another one, empty if there is no reason.
func (r *run) excuse(earlier, later *life) string {
	if death, killed := r.killed[earlier.process]; killed && death.Before(later.begun) {
		if earlier.result == handled {
			return fmt.Sprintf("which was killed %v after the handler had ended", death.Sub(earlier.end).Round(time.Microsecond))
		}
		return "which was killed"
	}
	for _, s := range r.standstills {
		if s.excuses(earlier.process, later.begun) {
			return fmt.Sprintf("whose lease ran out: it stood still for %v", s.to.Sub(s.from).Round(time.Millisecond))
		}
	}
	return ""
}

func (r *Report) example(format string, args ...any) {
	if len(r.Examples) < 20 {
		r.Examples = append(r.Examples, fmt.Sprintf(format, args...))
	}
}

func eachLine(name string, fn func(e entry, at time.Time, text string)) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		e, rest, _ := strings.Cut(lines.Text(), " ")
		nanos, text, _ := strings.Cut(rest, " ")
		at, err := strconv.ParseInt(nanos, 10, 64)
		if err != nil || text == "" {
			return fmt.Errorf("%s: line %q", name, lines.Text())
		}
		fn(entry(e), time.Unix(0, at), text)
	}
	return lines.Err()
}
