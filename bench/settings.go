package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/watermarkchurch/toot-go/internal/testing/postgrestest"
)

// settings are what the figures depend on, beside toot itself.
type settings struct {
	Date     string `json:"date"`
	Command  string `json:"command"`
	Revision string `json:"revision,omitempty"`
	Machine  string `json:"machine"`
	Go       string `json:"go"`
	SQLite   string `json:"sqlite"`
	Redis    string `json:"redis"`
	Postgres string `json:"postgres"`
	Asynq    string `json:"asynq"`
	River    string `json:"river"`
	Disk     string `json:"disk"`
	Loops    string `json:"loops"`
	Method   string `json:"method"`
}

func (b *bench) settings(ctx context.Context) settings {
	return settings{
		Date:     time.Now().Format("2006-01-02 15:04"),
		Command:  strings.Join(append([]string{"bench"}, os.Args[1:]...), " "),
		Revision: revision(),
		Machine:  fmt.Sprintf("%s, %d cores (GOMAXPROCS %d), %s/%s", cpuModel(), runtime.NumCPU(), runtime.GOMAXPROCS(0), runtime.GOOS, runtime.GOARCH),
		Go:       runtime.Version(),
		SQLite:   sqlite3.SQLITE_VERSION + " (modernc.org/sqlite " + moduleVersion("modernc.org/sqlite") + "), journal_mode=WAL, synchronous=FULL, a file for each app",
		Redis:    redisVersion(ctx) + ", started with " + strings.TrimSuffix(strings.Join(redisSettings, " "), " ") + ` ""; one server, a namespace for each app`,
		Postgres: postgresVersion(ctx) + ", with " + strings.Join(postgresSettings, ", ") + "; one database, a schema for each app",
		Asynq:    fmt.Sprintf("%s, %d workers", moduleVersion("github.com/hibiken/asynq"), asynqWorkers),
		River:    fmt.Sprintf("%s, %d workers, FetchCooldown of 1 ms, %d connections", moduleVersion("github.com/riverqueue/river"), riverWorkers, riverConnections),
		Disk:     b.disk(),
		Loops: fmt.Sprintf("events of %d bytes; single: %d publishers, at most %d outstanding; batch: %d publishers of %d each, at most %d outstanding; a handler concurrency of %d; all else toot's defaults",
			len(wireEvent(1, 0)), singles.publishers, singles.window, batches.publishers, batches.batch, batches.window, handlerConcurrency),
		Method: fmt.Sprintf("median of %d rounds of %v for each row, raw for %v before and after each", b.rounds, b.length, (b.length / 3).Round(time.Millisecond)),
	}
}

func (s settings) lines() [][2]string {
	all := [][2]string{
		{"date", s.Date}, {"command", s.Command}, {"revision", s.Revision}, {"machine", s.Machine}, {"Go", s.Go},
		{"SQLite", s.SQLite}, {"Redis", s.Redis}, {"PostgreSQL", s.Postgres}, {"asynq", s.Asynq}, {"River", s.River}, {"disk", s.Disk}, {"load", s.Loops}, {"method", s.Method},
	}
	return slices.DeleteFunc(all, func(line [2]string) bool { return line[1] == "" })
}

func (s settings) print(w io.Writer) {
	for _, line := range s.lines() {
		fmt.Fprintf(w, "%-10s %s\n", line[0], line[1])
	}
	fmt.Fprintln(w)
}

// revision is that of the source, if the program was built inside its
// repository.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	var text string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			text = s.Value[:min(12, len(s.Value))] + text
		case s.Key == "vcs.modified" && s.Value == "true":
			text += ", with changes"
		}
	}
	return text
}

func moduleVersion(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == path {
				return m.Version
			}
		}
	}
	return "unknown"
}

func cpuModel() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "a processor of unknown name"
}

func redisVersion(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "redis-server", "--version").Output()
	if err != nil {
		return "not installed"
	}
	for word := range strings.FieldsSeq(string(out)) {
		if version, ok := strings.CutPrefix(word, "v="); ok {
			return version
		}
	}
	return "unknown"
}

func postgresVersion(ctx context.Context) string {
	version, err := postgrestest.Version(ctx)
	if err != nil {
		return "not installed"
	}
	return version
}

// disk tells how long a small write takes to be durable: it bounds the rows on
// SQLite, and shows a folder that is on no disk at all.
func (b *bench) disk() string {
	f, err := os.Create(filepath.Join(b.dir, "sync"))
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.Close() }()
	var took []time.Duration
	page := make([]byte, 4096)
	for range 50 {
		began := time.Now()
		if _, err := f.Write(page); err != nil {
			return err.Error()
		}
		if err := f.Sync(); err != nil {
			return err.Error()
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	typical := took[len(took)/2]
	text := fmt.Sprintf("a 4 KB write and fsync take %v", typical.Round(time.Microsecond))
	if typical < 20*time.Microsecond {
		text += ": the folder seems to be in memory; choose another with --dir"
	}
	return text
}
