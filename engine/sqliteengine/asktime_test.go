package sqliteengine

import (
	"fmt"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine/sqliteengine/internal/sqlite"
)

// process is one of several on a machine: they have the wall clock in common,
// and each has a time of its own that goes on evenly.
type process struct {
	*Engine
	clock *fakeClock
}

// startProcess starts one on a file, at a wall time.
func startProcess(t *testing.T, file string, wall time.Time) process {
	t.Helper()
	clock := newFakeClock()
	clock.wall = wall
	return process{open(t, file, &Options{Time: clock.read}), clock}
}

// A process that starts right after a jump, before any other has looked at the
// clock, goes by the clock of the others and not by its own wall time.
func TestAProcessThatStartsAfterAJumpGoesByTheClockOfTheOthers(t *testing.T) {
	t.Parallel()
	for _, idle := range []time.Duration{0, 30 * time.Minute} {
		for _, d := range jumps {
			t.Run(fmt.Sprintf("%v after %v", d, idle), func(t *testing.T) {
				t.Parallel()
				file, wall := tempFile(t), time.Now()
				a, b := startProcess(t, file, wall), startProcess(t, file, wall)
				push(t, a.Engine, newJobs("running", 1, testLane, idle+time.Minute))
				before := a.Engine.clock.now()
				for _, p := range []process{a, b} {
					p.clock.add(idle)
					p.clock.jump(d)
				}
				c := startProcess(t, file, wall.Add(idle+d))
				if ids, _ := claimIDs(t, c.Engine, time.Minute); ids != nil {
					t.Errorf("the newcomer got %v, which another process is working on", ids)
				}
				push(t, c.Engine, newJobs("new", 1, testLane, 0))
				if ids, _ := claimIDs(t, a.Engine, time.Minute); fmt.Sprint(ids) != "[new-000000]" {
					t.Errorf("due are %v, want what the newcomer pushed alone", ids)
				}
				push(t, c.Engine, newJobs("taken", 1, testLane, time.Minute))
				if ids, _ := claimIDs(t, b.Engine, time.Minute); ids != nil {
					t.Errorf("%v run again, while the newcomer is working on them", ids)
				}
				for _, p := range []process{a, b, c} {
					if got := time.Duration(p.Engine.clock.now()-before) * time.Microsecond; got != idle {
						t.Errorf("the clock went on by %v, want %v", got, idle)
					}
				}
				inWriter(t, a.Engine, func(w *writer) error {
					if w.time.jumps != 1 {
						t.Errorf("the offset was changed %d times", w.time.jumps)
					}
					return nil
				})
			})
		}
	}
}

// While nothing is written, the file does not know how late it is. That is no jump.
func TestAProcessThatStartsBesideAnIdleOne(t *testing.T) {
	t.Parallel()
	file, wall := tempFile(t), time.Now()
	a := startProcess(t, file, wall)
	push(t, a.Engine, newJobs("leased", 1, testLane, time.Hour))
	a.clock.add(2 * time.Hour)
	c := startProcess(t, file, wall.Add(2*time.Hour))
	if ids, _ := claimIDs(t, c.Engine, time.Minute); len(ids) != 1 {
		t.Error("a lease has not ended")
	}
	inWriter(t, c.Engine, func(w *writer) error {
		if w.time.jumps != 0 {
			t.Errorf("the offset was changed %d times", w.time.jumps)
		}
		return nil
	})
}

// A jump while a process starts is taken up once, whether the others saw it
// before or not.
func TestAJumpWhileAProcessStarts(t *testing.T) {
	t.Parallel()
	for _, d := range jumps {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			file, wall := tempFile(t), time.Now()
			a := startProcess(t, file, wall)
			push(t, a.Engine, newJobs("running", 1, testLane, time.Minute))
			before := a.Engine.clock.now()
			a.clock.jump(d)
			push(t, a.Engine, newJobs("more", 1, testLane, time.Minute))
			starting, calls := newFakeClock(), 0
			starting.wall = wall
			c := open(t, file, &Options{Time: func() (time.Time, time.Duration) {
				if calls++; calls == 2 {
					starting.jump(d)
				}
				return starting.read()
			}})
			if ids, _ := claimIDs(t, c, time.Minute); ids != nil {
				t.Errorf("%v run again", ids)
			}
			if c.clock.now() != before || a.Engine.clock.now() != before {
				t.Errorf("the clocks went on by %d and %d µs", c.clock.now()-before, a.Engine.clock.now()-before)
			}
		})
	}
}

// Who does not answer, such as another program that has the file open, keeps
// nobody from starting. Then wall time is all there is.
func TestAProcessThatStartsBesideOneThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	for _, d := range []time.Duration{2 * time.Hour, -2 * time.Hour} {
		file, wall := tempFile(t), time.Now()
		clock := newFakeClock()
		clock.wall = wall
		a, err := Open(file, &Options{Time: clock.read})
		if err != nil {
			t.Fatal(err)
		}
		other, err := openConn(file, sqlite.Existing, nil)
		if err != nil {
			t.Fatal(err)
		}
		push(t, a, newJobs("leased", 1, testLane, time.Hour))
		before := a.clock.now()
		if _, err := other.queryInt("SELECT count(*) FROM jobs"); err != nil {
			t.Fatal(err)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		c := startProcess(t, file, wall.Add(d))
		if got := time.Duration(c.Engine.clock.now()-before) * time.Microsecond; got != max(0, d) {
			t.Errorf("the clock went on by %v, want %v", got, max(0, d))
		}
		if err := other.close(); err != nil {
			t.Fatal(err)
		}
	}
}
