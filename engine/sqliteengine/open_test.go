package sqliteengine

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine/internal/sqlite"
)

// TestOpenTakesPathsOnly: what other libraries, or the command, give a meaning to
// makes no file of that name, unless a path says so.
func TestOpenTakesPathsOnly(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, want := range map[string]string{
		":memory:":                        "engine/memengine",
		"file::memory:":                   "engine/memengine",
		"file::memory:?cache=shared":      "engine/memengine",
		"file:toot.db":                    `such as "toot.db"`,
		"FILE:///var/lib/toot.db?mode=rw": `such as "/var/lib/toot.db"`,
		"file:toot.db?mode=memory":        "engine/memengine",
		"toot.db?mode=memory":             "engine/memengine",
		"toot.db?_pragma=foreign_keys(1)": `such as "toot.db"`,
		"sqlite:toot.db":                  `such as "toot.db"`,
		"sqlite:///var/lib/toot.db":       `such as "/var/lib/toot.db"`,
		"sqlite3:toot.db":                 `such as "toot.db"`,
		"sqlite::memory:":                 "engine/memengine",
		"redis://u:secret@h":              "engine/anyengine",
		"postgres://u:secret@h/d":         "engine/anyengine",
	} {
		e, err := Open(name, nil)
		if err == nil {
			_ = e.Close()
			t.Errorf("%s was opened", name)
			continue
		}
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	if files, err := os.ReadDir("."); err != nil || len(files) > 0 {
		t.Errorf("files were made: %v, %v", files, err)
	}
	if runtime.GOOS == "windows" {
		return // these are no names there
	}
	for _, path := range []string{"./:memory:", "./sqlite:toot.db", "a?b.db", "at 12:30.db"} {
		e, err := Open(path, nil)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	database := func(name, sql string) string {
		file := filepath.Join(dir, name)
		c, err := openConn(file, sqlite.Create, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.exec(sql); err != nil {
			t.Fatal(err)
		}
		if err := c.close(); err != nil {
			t.Fatal(err)
		}
		return file
	}
	header := "SQLite format 3\x00" + strings.Repeat("\xff", 8000)
	for _, c := range []struct{ name, file, want string }{
		{"no path", "", "the path is empty"},
		{"a folder that is missing", filepath.Join(dir, "missing", "toot.db"), "does not exist: create it"},
		{"a folder", dir, "it is a folder"},
		{"another kind of file", write("text.db", strings.Repeat("no database ", 1000)), "not an SQLite database"},
		{"a damaged file", write("damaged.db", header), "choose another path"},
		{"another program's database", database("foreign.db", "CREATE TABLE t (x)"), "another program"},
		{
			"a newer schema",
			database("newer.db", fmt.Sprintf("%s; PRAGMA application_id = %d; PRAGMA user_version = %d", schema, applicationID, schemaVersion+1)),
			"written by a newer toot",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := Open(c.file, nil)
			if err == nil {
				_ = e.Close()
				t.Fatal("Open succeeded")
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.file) {
				t.Errorf("the error does not name the file or say what to do: %v", err)
			}
			if strings.ContainsRune(err.Error(), '\n') {
				t.Errorf("the error is not one sentence: %v", err)
			}
		})
	}
}

func TestADamagedPageIsReported(t *testing.T) {
	t.Parallel()
	file := tempFile(t)
	e, err := Open(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	push(t, e, newJobs("a", 2000, testLane, 0))
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := 4096 * 3; i < len(content); i++ {
		content[i] = 0xff
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	e, err = Open(file, nil)
	if err == nil {
		_, err = e.Claim(context.Background(), engine.ClaimRequest{Kind: engine.Deliver, Max: 10, MaxPerLane: 10, Lease: time.Minute})
		_ = e.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("got error %v, want one that says the file is damaged", err)
	}
}

// childEnv names what a process started by a test is to do.
const childEnv = "SQLITEENGINE_TEST_CHILD"

// TestChild is not a test of its own: other tests run it in processes.
func TestChild(t *testing.T) {
	what, file, ok := strings.Cut(os.Getenv(childEnv), " ")
	if !ok {
		return // nobody's child
	}
	e, err := Open(file, nil)
	if what == "open" {
		fmt.Printf("opened: %v\n", err)
		if err == nil {
			_ = e.Close()
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	switch what {
	case "hold": // jobs under a lease until it is killed
		claimed := claimAll(t, e, engine.Deliver)
		fmt.Printf("claimed %d\n", len(claimed))
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	case "push": // jobs until it is killed
		push(t, e, newJobs("pushed", 50, testLane, 0))
		fmt.Println("pushed")
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	case "work": // all there is to do, naming each job
		childWork(t, e)
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// startChild runs TestChild in a process of its own.
func startChild(t *testing.T, what, file string) (cmd *exec.Cmd, out *bufio.Scanner) {
	t.Helper()
	cmd = exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.v")
	return cmd, runChild(t, cmd, what, file)
}

func runChild(t *testing.T, cmd *exec.Cmd, what, file string) (out *bufio.Scanner) {
	t.Helper()
	cmd.Env = append(os.Environ(), childEnv+"="+what+" "+file)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe() // ends with this process
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return bufio.NewScanner(stdout)
}

// line returns the first line of a child's output that begins with prefix.
func line(t *testing.T, out *bufio.Scanner, prefix string) string {
	t.Helper()
	for out.Scan() {
		if strings.HasPrefix(out.Text(), prefix) {
			return out.Text()
		}
	}
	t.Fatalf("a child process ended without printing %q", prefix)
	return ""
}

// dieWithJobs has a process claim n jobs and kills it. meanwhile is called
// while it has them.
func dieWithJobs(t *testing.T, file string, n int, meanwhile func()) {
	t.Helper()
	cmd, out := startChild(t, "hold", file)
	if got, want := line(t, out, "claimed"), fmt.Sprintf("claimed %d", n); got != want {
		t.Fatalf("the child %s, want %s", got, want)
	}
	meanwhile()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
}

func TestJobsOfADeadProcessAreDueWhenNobodyElseHasTheFile(t *testing.T) {
	t.Parallel()
	file := tempFile(t)
	e, err := Open(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	push(t, e, newJobs("a", 50, testLane, 0))
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	dieWithJobs(t, file, 50, func() {})

	e = open(t, file, nil)
	jobs := claimAll(t, e, engine.Deliver)
	if len(jobs) != 50 {
		t.Fatalf("%d jobs are due after the process died, want 50", len(jobs))
	}
	for _, j := range jobs {
		if j.Claims != 2 {
			t.Fatalf("a job was claimed %d times, want 2: the dead process's claim counts", j.Claims)
		}
	}
}

func TestJobsOfADeadProcessWaitWhileAnotherHasTheFile(t *testing.T) {
	t.Parallel()
	file := tempFile(t)
	e := open(t, file, nil)
	push(t, e, newJobs("a", 50, testLane, 0))
	dieWithJobs(t, file, 50, func() {})

	other := open(t, file, nil)
	if jobs := claimAll(t, other, engine.Deliver); len(jobs) != 0 {
		t.Errorf("%d jobs were taken from a process that may live", len(jobs))
	}
}

func TestJobsOfAClosedEngineAreNotTakenForThoseOfADeadOne(t *testing.T) {
	t.Parallel()
	file := tempFile(t)
	e, err := Open(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	push(t, e, newJobs("dies", 5, testLane, 0))
	dieWithJobs(t, file, 5, func() {})
	push(t, e, newJobs("closes", 7, testLane, time.Minute))
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = open(t, file, nil)
	if jobs := claimAll(t, e, engine.Deliver); len(jobs) != 5 {
		t.Errorf("%d jobs are due, want the 5 of the process that died", len(jobs))
	}
}

func childWork(t *testing.T, e *Engine) {
	ctx := context.Background()
	prefix := fmt.Sprint("pid", os.Getpid())
	for round := range 20 {
		push(t, e, newJobs(fmt.Sprint(prefix, "-", round), 50, testLane, 0))
		push(t, e, newJobs(fmt.Sprint("common-", round), 20, testLane, 0))
		res, err := e.Claim(ctx, engine.ClaimRequest{Kind: engine.Deliver, Max: 60, MaxPerLane: 60, Lease: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		childSettle(t, e, res.Jobs)
	}
	childSettle(t, e, claimAll(t, e, engine.Deliver))
}

func childSettle(t *testing.T, e *Engine, jobs []engine.Claimed) {
	if n := settleAll(t, e, ticketsOf(jobs), engine.Outcome{Result: engine.Done}); n != len(jobs) {
		t.Fatalf("%d of %d tickets were good", n, len(jobs))
	}
	for _, j := range jobs {
		fmt.Println("done", j.Event.ID)
	}
}

func TestSeveralProcessesShareOneFile(t *testing.T) {
	t.Parallel()
	file := tempFile(t)
	const processes = 3
	var children []*exec.Cmd
	var outs []*bufio.Scanner
	for range processes {
		cmd, out := startChild(t, "work", file)
		children, outs = append(children, cmd), append(outs, out)
	}
	done := map[string]int{}
	for i, out := range outs {
		for out.Scan() {
			if id, ok := strings.CutPrefix(out.Text(), "done "); ok {
				done[id]++
			}
		}
		if err := children[i].Wait(); err != nil {
			t.Fatalf("a child failed: %v", err)
		}
	}
	e := open(t, file, nil)
	childless := claimAll(t, e, engine.Deliver)
	for _, j := range childless {
		done[j.Event.ID]++
	}
	if want := processes*20*50 + 20*20; len(done) != want {
		t.Errorf("%d jobs were done, want %d", len(done), want)
	}
	for id, n := range done {
		if n != 1 {
			t.Errorf("job %s was done %d times", id, n)
		}
	}
}
