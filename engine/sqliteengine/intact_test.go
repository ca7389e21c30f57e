package sqliteengine

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/testing/memdir"
)

// savedLog is a log that a test reads while it is written.
type savedLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *savedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *savedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestASymbolicLinkLeadsToTheSameStore(t *testing.T) {
	t.Parallel()
	dir := memdir.New(t)
	folder, elsewhere := filepath.Join(dir, "folder"), filepath.Join(dir, "elsewhere")
	for _, d := range []string{folder, elsewhere} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(folder, "toot.db")
	links := map[string]string{ // to where they lead
		filepath.Join(dir, "link.db"):       file,
		filepath.Join(elsewhere, "rel.db"):  filepath.Join("..", "folder", "toot.db"),
		filepath.Join(elsewhere, "more.db"): filepath.Join("..", "link.db"),
		filepath.Join(dir, "current"):       folder,
	}
	for link, target := range links {
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	// The first one that opens it makes the file at the end of its link.
	e := open(t, filepath.Join(elsewhere, "more.db"), nil)
	push(t, e, newJobs("a", 30, testLane, 0))
	if n := len(claimAll(t, e, engine.Deliver)); n != 30 {
		t.Fatalf("claimed %d jobs, want 30", n)
	}
	for _, path := range []string{
		file, filepath.Join(dir, "link.db"), filepath.Join(elsewhere, "rel.db"), filepath.Join(dir, "current", "toot.db"),
	} {
		_, out := startChild(t, "hold", path)
		if got := line(t, out, "claimed"); got != "claimed 0" {
			t.Errorf("who opened the file as %s has %s of the jobs that another process has", path, got)
		}
	}
	circle := filepath.Join(dir, "circle.db")
	if err := os.Symlink(circle, circle); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(circle, nil); err == nil || !strings.Contains(err.Error(), "a symbolic link that leads nowhere") {
		t.Errorf("a link to itself: %v", err)
	}
}

func TestALivingProcessKeepsItsJobsWithoutTheLockFile(t *testing.T) {
	t.Parallel()
	file := tempFile(t)
	e := open(t, file, nil)
	push(t, e, newJobs("a", 30, testLane, 0))
	jobs := claimAll(t, e, engine.Deliver)
	if err := os.Remove(file + lockSuffix); err != nil {
		t.Fatal(err)
	}
	_, out := startChild(t, "hold", file)
	if got := line(t, out, "claimed"); got != "claimed 0" {
		t.Errorf("another process %s of the jobs that this one has", got)
	}
	if n := settleAll(t, e, ticketsOf(jobs), engine.Outcome{Result: engine.Done}); n != 30 {
		t.Errorf("%d of 30 tickets are still good", n)
	}
}

// TestFilesThatAreGoneAreNoticed takes each of a store's files away, or puts
// another one in its place.
func TestFilesThatAreGoneAreNoticed(t *testing.T) {
	t.Parallel()
	takeAway := map[string]func(t *testing.T, file string){
		"removed": func(*testing.T, string) {},
		"replaced": func(t *testing.T, file string) {
			if err := os.WriteFile(file, []byte("another"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	}
	for how, then := range takeAway {
		for _, suffix := range laidSuffixes {
			t.Run(fmt.Sprint("toot.db", suffix, " is ", how), func(t *testing.T) {
				t.Parallel()
				file, log := tempFile(t), &savedLog{}
				e, err := Open(file, &Options{Logger: slog.New(slog.NewTextHandler(log, nil))})
				if err != nil {
					t.Fatal(err)
				}
				defer func() {
					if err := e.Close(); err != nil {
						t.Error(err)
					}
				}()
				push(t, e, newJobs("before", 10, testLane, 0))
				if err := os.Rename(file+suffix, file+suffix+".old"); err != nil {
					t.Fatal(err)
				}
				then(t, file+suffix)

				err = untilRefused(t, e)
				if !strings.Contains(err.Error(), file+suffix+" was "+how) || !strings.Contains(err.Error(), "stop the process") {
					t.Errorf("the error does not say which file is gone, and what to do: %v", err)
				}
				ctx := context.Background()
				if err := e.Ping(ctx); err == nil {
					t.Error("Ping finds nothing wrong")
				}
				if _, err := e.AddSubscriber(ctx, "channel", "http://example.org/", 0); err == nil {
					t.Error("a subscriber was taken in")
				}
				if how == "replaced" && (suffix == logSuffix || suffix == indexSuffix) {
					// Somebody else may work on the database file.
					if _, err := e.Claim(ctx, engine.ClaimRequest{Kind: engine.Deliver, Max: 1, MaxPerLane: 1, Lease: time.Minute}); err == nil {
						t.Error("jobs were claimed beside another log")
					}
				} else {
					// What was taken in is worked off.
					jobs := claimAll(t, e, engine.Deliver)
					if len(jobs) < 10 {
						t.Errorf("only %d jobs of those before can be claimed", len(jobs))
					}
					if n := settleAll(t, e, ticketsOf(jobs), engine.Outcome{Result: engine.Done}); n != len(jobs) {
						t.Errorf("%d of %d jobs were settled", n, len(jobs))
					}
				}

				if err := os.Rename(file+suffix+".old", file+suffix); err != nil {
					t.Fatal(err)
				}
				for end := time.Now().Add(15 * time.Second); e.Ping(ctx) != nil; time.Sleep(10 * time.Millisecond) {
					if time.Now().After(end) {
						t.Fatal("it is not noticed that the file is back")
					}
				}
				push(t, e, newJobs("after", 10, testLane, 0))
				said := log.String()
				if n := strings.Count(said, "level=ERROR"); n != 1 || !strings.Contains(said, file+suffix+" was "+how) {
					t.Errorf("the log has %d errors, want one that says which file is gone:\n%s", n, said)
				}
			})
		}
	}
}

// untilRefused pushes until that fails, and returns the error.
func untilRefused(t *testing.T, e *Engine) error {
	t.Helper()
	end := time.Now().Add(15 * time.Second)
	for i := 0; time.Now().Before(end); i++ {
		_, err := e.Push(context.Background(), engine.PushRequest{Jobs: newJobs(fmt.Sprint("during", i), 1, testLane, 0)})
		if err != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("jobs are taken in though a file is gone")
	return nil
}

// TestTheLogOfAnotherStoreIsLeftAlone closes an engine whose files were removed,
// when another store has been made in the same place.
func TestTheLogOfAnotherStoreIsLeftAlone(t *testing.T) {
	t.Parallel()
	file := tempFile(t)
	old, err := Open(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	push(t, old, newJobs("old", 10, testLane, 0))
	for _, suffix := range laidSuffixes {
		if err := os.Remove(file + suffix); err != nil {
			t.Fatal(err)
		}
	}
	e := open(t, file, nil)
	push(t, e, newJobs("new", 10, testLane, 0))
	if err := old.Close(); err != nil {
		t.Error(err)
	}
	if err := e.laid.compare(); err != nil {
		t.Error(err)
	}
	if n := len(claimAll(t, open(t, file, nil), engine.Deliver)); n != 10 {
		t.Errorf("the new store has %d jobs, want 10", n)
	}
}

// TestTheLogOfAnotherProcessIsLeftAlone closes an engine beside whose file there
// is another log.
func TestTheLogOfAnotherProcessIsLeftAlone(t *testing.T) {
	t.Parallel()
	file := tempFile(t)
	e, err := Open(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	push(t, e, newJobs("old", 10, testLane, 0))
	for _, suffix := range []string{logSuffix, indexSuffix} {
		if err := os.Remove(file + suffix); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file+suffix, []byte("another"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_ = untilRefused(t, e)
	if err := e.Close(); err == nil {
		t.Error("Close says nothing of it")
	}
	for _, suffix := range []string{logSuffix, indexSuffix} {
		if content, err := os.ReadFile(file + suffix); string(content) != "another" {
			t.Errorf("the other %s is %q now: %v", suffix, content, err)
		}
	}
}

// TestALogThatWasRemovedIsNotMissed removes the log, which nobody else may then
// begin anew: closing the file saves what is in it.
func TestALogThatWasRemovedIsNotMissed(t *testing.T) {
	t.Parallel()
	for _, suffix := range []string{logSuffix, indexSuffix} {
		file := tempFile(t)
		e, err := Open(file, nil)
		if err != nil {
			t.Fatal(err)
		}
		push(t, e, newJobs("a", 10, testLane, 0))
		if err := os.Remove(file + suffix); err != nil {
			t.Fatal(err)
		}
		other, err := Open(file, nil)
		if err == nil {
			_ = other.Close()
			t.Error("the file was opened beside a process whose log was removed")
		} else if !strings.Contains(err.Error(), "or its log was removed: stop that process first") {
			t.Errorf("the error does not say what to do: %v", err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		if n := len(claimAll(t, open(t, file, nil), engine.Deliver)); n != 10 {
			t.Errorf("%d jobs are left, want 10", n)
		}
	}
}

func TestAStoreThatIsStillInUseIsNotMadeAnew(t *testing.T) {
	t.Parallel()
	file := tempFile(t)
	e, err := Open(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	push(t, e, newJobs("old", 10, testLane, 0))
	moved := filepath.Join(memdir.New(t), "moved.db")
	if err := os.Rename(file, moved); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file:  "it is not there, but a process that still runs has it open",
		moved: "a process that still runs has it open by another path",
	} {
		other, err := Open(path, nil)
		if err == nil {
			_ = other.Close()
			t.Errorf("%s was opened though another engine has it open", path)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	// What is in the log is not thrown away, either.
	if other, err := Open(file, nil); err == nil {
		_ = other.Close()
		t.Error("another store was made in the place of one whose log is still there")
	} else if !strings.Contains(err.Error(), "its log is: put it back beside "+file+logSuffix+", or remove that") {
		t.Errorf("the error does not say what to do: %v", err)
	}
	if err := os.Rename(file+logSuffix, moved+logSuffix); err != nil {
		t.Fatal(err)
	}
	if n := len(claimAll(t, open(t, moved, nil), engine.Deliver)); n != 10 {
		t.Errorf("the store that was moved has %d jobs, want 10", n)
	}
}
