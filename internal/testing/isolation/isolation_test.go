package isolation

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine"
	"github.com/watermarkchurch/toot-go/internal/testing/subprocess"
)

var full = flag.Bool("full", false, "1,000 endpoints, and bars for rate and latency")

func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

// fleet is a process with endpoints.
type fleet struct {
	t   testing.TB
	url string
}

func child(t testing.TB, role string, env ...string) (stdout *bufio.Reader, cmd *exec.Cmd) {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	cmd = exec.Command(self)
	cmd.Env = append(append(os.Environ(), envRole+"="+role), env...)
	cmd.Stderr = os.Stderr
	subprocess.DieWithParent(cmd)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	return bufio.NewReader(out), cmd
}

func newFleet(t testing.TB) *fleet {
	t.Helper()
	out, cmd := child(t, "endpoints")
	addr, err := out.ReadString('\n')
	must(t, err)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return &fleet{t, "http://" + strings.TrimSpace(addr)}
}

func (f *fleet) post(path string) {
	f.t.Helper()
	res, err := http.Post(f.url+path, "", nil)
	must(f.t, err)
	must(f.t, res.Body.Close())
}

func (f *fleet) seen() (s seen) {
	f.t.Helper()
	res, err := http.Get(f.url + "/seen")
	must(f.t, err)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	must(f.t, err)
	must(f.t, json.Unmarshal(body, &s))
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t testing.TB, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > limit {
			t.Fatalf("waited %v in vain: %s", limit, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return time.Since(began)
}

// start runs a publisher with a channel for each endpoint. It returns the
// channels of the healthy ones and those of the sick.
func start(t testing.TB, f *fleet, opts toot.Options, well, failed, hung int) (app *toot.App, goodOnes, sickOnes []string) {
	t.Helper()
	eng, err := sqliteengine.Open(filepath.Join(t.TempDir(), "toot.db"), nil)
	must(t, err)
	opts.Logger = slog.New(slog.DiscardHandler)
	app, err = toot.New(eng, &opts)
	must(t, err)
	add := func(kind string, n int) (channels []string) {
		for i := range n {
			path := kind + strconv.Itoa(i)
			_, err := eng.AddSubscriber(context.Background(), path, f.url+path, 0)
			must(t, err)
			channels = append(channels, path)
		}
		return channels
	}
	goodOnes = add(healthy, well)
	sickOnes = append(add(failing, failed), add(hanging, hung)...)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- app.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Log(err) // what hangs may have to be cancelled
		}
		must(t, app.Close())
		must(t, eng.Close())
	})
	return app, goodOnes, sickOnes
}

func publishOne(t testing.TB, app *toot.App, channels []string) {
	t.Helper()
	messages := make([]toot.Message, len(channels))
	for i, c := range channels {
		messages[i] = toot.Message{Channel: c, Payload: payload{At: time.Now().UnixNano()}}
	}
	_, err := app.PublishAll(context.Background(), messages...)
	must(t, err)
}

func TestSickEndpointsHoldNobodyUp(t *testing.T) {
	f := newFleet(t)
	const most, well, failed, hung, events = 256, 10, 10, 180, 30
	app, goodOnes, sickOnes := start(t, f, toot.Options{
		MaxDeliveries: most, RequestTimeout: 3 * time.Second, ProbeInterval: 2 * time.Second,
		RetryDelay: func(int) time.Duration { return time.Second }, MaxRetries: 1000,
	}, well, failed, hung)
	before := runtime.NumGoroutine()
	for range events {
		publishOne(t, app, sickOnes)
		publishOne(t, app, goodOnes)
	}
	eventually(t, time.Minute, "the healthy endpoints have everything", func() bool { return f.seen().Healthy == well*events })
	if s := f.seen(); s.Sick != 0 {
		t.Fatalf("%d events were taken by endpoints that are sick", s.Sick)
	}
	// A request is a goroutine of ours and two of its connection.
	if n := runtime.NumGoroutine() - before; n > 3*most+100 {
		t.Errorf("%d goroutines for at most %d requests", n, most)
	}
	f.post("/recover")
	eventually(t, time.Minute, "the backlog drains", func() bool { return f.seen().Sick == (failed+hung)*events })
	eventually(t, time.Minute, "nothing is left", func() bool {
		stats, err := app.Stats(context.Background())
		must(t, err)
		return stats.Waiting+stats.InFlight == 0
	})
}

func TestABacklogCostsNoMemory(t *testing.T) {
	events := 40_000 // the race detector makes them slow
	if *full {
		events = 200_000
	}
	out, cmd := child(t, "backlog", envFile+"="+filepath.Join(t.TempDir(), "toot.db"), envEvents+"="+strconv.Itoa(events))
	line, err := out.ReadString('\n')
	must(t, err)
	must(t, cmd.Wait())
	most, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	must(t, err)
	fmt.Printf("%d events waiting for a dead endpoint: at most %d MB\n", events, most>>20)
	if most > 200<<20 {
		t.Errorf("%d events waiting took %d MB, want less than 200", events, most>>20)
	}
}

// side is a publisher and its endpoints, and what was seen of them.
type side struct {
	app      *toot.App
	fleet    *fleet
	channels []string // published on in turn, all of them once a second

	published  int // to healthy ones
	took       time.Duration
	goroutines int
	heap       uint64
}

// offer publishes at the rate for d. It does not fall behind: each event bears
// the time at which it was to be published.
func (s *side) offer(t testing.TB, d time.Duration) {
	t.Helper()
	began := time.Now()
	total := int(float64(len(s.channels)) * d.Seconds())
	interval := float64(d) / float64(total)
	for sent := 0; sent < total; {
		due := min(int(float64(time.Since(began))/interval)+1, total)
		messages := make([]toot.Message, 0, due-sent)
		for ; sent < due; sent++ {
			c := s.channels[sent%len(s.channels)]
			if strings.HasPrefix(c, healthy) {
				s.published++
			}
			messages = append(messages, toot.Message{Channel: c, Payload: payload{At: began.Add(time.Duration(float64(sent) * interval)).UnixNano()}})
		}
		if len(messages) > 0 {
			_, err := s.app.PublishAll(context.Background(), messages...)
			must(t, err)
		}
		s.goroutines = max(s.goroutines, runtime.NumGoroutine())
		time.Sleep(2 * time.Millisecond)
	}
	eventually(t, time.Minute, "the healthy endpoints have everything", func() bool { return s.fleet.seen().Healthy >= s.published })
	s.took += time.Since(began)
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	s.heap = max(s.heap, stats.HeapInuse)
}

// forget makes what follows count alone.
func (s *side) forget() {
	s.fleet.post("/reset")
	s.published, s.took = 0, 0
}

func (s *side) row(name string) (rate float64, seen seen) {
	seen = s.fleet.seen()
	rate = float64(seen.Healthy) / s.took.Seconds()
	fmt.Printf("%-28s %12.1f %10v %10v %10v %11d %8d\n", name, rate, seen.P50.Round(10*time.Microsecond),
		seen.P99.Round(10*time.Microsecond), seen.Max.Round(10*time.Microsecond), s.goroutines, s.heap>>20)
	return rate, seen
}

// TestIsolation is make isolation: 1,000 endpoints, of which 900 hang and 50
// fail, and beside them a publisher with healthy endpoints only. Both are
// offered the same for these, by turns, so that whatever else the machine does
// hits both. Without -full it goes through the motions.
func TestIsolation(t *testing.T) {
	const often = 10 // events a second to each that is healthy, and one to each that is sick
	well, failed, hung, turns, d := 5, 5, 40, 1, time.Second
	if *full {
		well, failed, hung, turns, d = 50, 50, 900, 10, 4*time.Second
	}
	opts := toot.Options{RequestTimeout: 5 * time.Second, ProbeInterval: 10 * time.Second}
	alone, beside := &side{fleet: newFleet(t)}, &side{fleet: newFleet(t)}
	alone.app, alone.channels, _ = start(t, alone.fleet, opts, well, 0, 0)
	app, goodOnes, sickOnes := start(t, beside.fleet, opts, well, failed, hung)
	beside.app, beside.channels = app, slices.Concat(slices.Repeat(goodOnes, often), sickOnes)
	alone.channels = slices.Repeat(alone.channels, often)
	for _, s := range []*side{alone, beside} {
		shuffle := rand.New(rand.NewPCG(1, 1))
		shuffle.Shuffle(len(s.channels), func(i, j int) { s.channels[i], s.channels[j] = s.channels[j], s.channels[i] })
	}

	fmt.Printf("%d healthy endpoints, %d that answer 500, %d that hang\n", well, failed, hung)
	fmt.Printf("%-28s %12s %10s %10s %10s %11s %8s\n", "", "events/s", "p50", "p99", "max", "goroutines", "heap MB")
	alone.offer(t, d) // warm up
	beside.offer(t, 2*d)
	beside.row("as the others fall sick")
	alone.forget()
	beside.forget()
	for range turns {
		alone.offer(t, d)
		beside.offer(t, d)
	}
	rate, quiet := alone.row("alone")
	besideRate, sick := beside.row("beside the sick")
	beside.fleet.post("/recover")
	sent := (turns + 2) * len(sickOnes) * int(d.Seconds())
	took := eventually(t, 5*time.Minute, "the backlog drains", func() bool { return beside.fleet.seen().Sick == sent })
	fmt.Printf("%d events of the sick drained in %v once they had recovered\n", sent, took.Round(10*time.Millisecond))
	if !*full {
		return
	}
	if besideRate < 0.95*rate {
		t.Errorf("rate %.1f, want at least 95%% of %.1f", besideRate, rate)
	}
	if sick.P99 > 2*quiet.P99 {
		t.Errorf("p99 %v, want at most twice %v", sick.P99, quiet.P99)
	}
}
