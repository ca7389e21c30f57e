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
	"syscall"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine"
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
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
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
	defer res.Body.Close()
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
			_, err := eng.AddSubscriber(context.Background(), path, f.url+path)
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

// measured is the result of a phase.
type measured struct {
	rate       float64 // events a second that the healthy ones got
	seen       seen
	goroutines int
	heap       uint64
}

// offer publishes to channels in turn, all of them once a second, and measures.
func offer(t testing.TB, app *toot.App, f *fleet, channels []string, d time.Duration) (m measured) {
	t.Helper()
	f.post("/reset")
	began := time.Now()
	total := int(float64(len(channels)) * d.Seconds())
	interval := float64(d) / float64(total)
	var stats runtime.MemStats
	published := 0
	for sent := 0; sent < total; {
		// What is due by now, stamped with the time at which it was due.
		due := min(int(float64(time.Since(began))/interval)+1, total)
		messages := make([]toot.Message, 0, due-sent)
		for ; sent < due; sent++ {
			c := channels[sent%len(channels)]
			if strings.HasPrefix(c, healthy) {
				published++
			}
			messages = append(messages, toot.Message{Channel: c, Payload: payload{At: began.Add(time.Duration(float64(sent) * interval)).UnixNano()}})
		}
		if len(messages) > 0 {
			_, err := app.PublishAll(context.Background(), messages...)
			must(t, err)
		}
		m.goroutines = max(m.goroutines, runtime.NumGoroutine())
		time.Sleep(2 * time.Millisecond)
	}
	eventually(t, time.Minute, "the healthy endpoints have everything", func() bool { return f.seen().Healthy >= published })
	runtime.ReadMemStats(&stats)
	m.seen, m.heap = f.seen(), stats.HeapInuse
	m.rate = float64(m.seen.Healthy) / time.Since(began).Seconds()
	return m
}

// TestIsolation is make isolation: 1,000 endpoints, of which 900 hang and 50
// fail. Without -full it goes through the motions.
func TestIsolation(t *testing.T) {
	const often = 10                               // events a second to each that is healthy, and one to each that is sick
	well, failed, hung, d := 5, 5, 40, time.Second // no longer than to see that it works
	if *full {
		well, failed, hung, d = 50, 50, 900, 30*time.Second
	}
	f := newFleet(t)
	app, goodOnes, sickOnes := start(t, f, toot.Options{RequestTimeout: 5 * time.Second, ProbeInterval: 10 * time.Second}, well, failed, hung)
	goodOnes = slices.Repeat(goodOnes, often)
	offer(t, app, f, goodOnes, d/5) // warm up
	alone := offer(t, app, f, goodOnes, d)
	all := slices.Concat(goodOnes, sickOnes)
	shuffle := rand.New(rand.NewPCG(1, 1))
	shuffle.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	onset := offer(t, app, f, all, d)
	beside := offer(t, app, f, all, d)
	f.post("/recover")
	sent := 2 * len(sickOnes) * int(d.Seconds())
	took := eventually(t, 5*time.Minute, "the backlog drains", func() bool { return f.seen().Sick == sent })
	fmt.Printf("%d healthy endpoints, %d that answer 500, %d that hang\n", well, failed, hung)
	fmt.Printf("%-28s %12s %10s %10s %10s %11s %8s\n", "", "events/s", "p50", "p99", "max", "goroutines", "heap MB")
	for _, row := range []struct {
		name string
		m    measured
	}{{"alone", alone}, {"as the others fall sick", onset}, {"beside the sick", beside}} {
		fmt.Printf("%-28s %12.1f %10v %10v %10v %11d %8d\n", row.name, row.m.rate, row.m.seen.P50.Round(10*time.Microsecond),
			row.m.seen.P99.Round(10*time.Microsecond), row.m.seen.Max.Round(10*time.Microsecond), row.m.goroutines, row.m.heap>>20)
	}
	fmt.Printf("%d events of the sick drained in %v once they had recovered\n", sent, took.Round(10*time.Millisecond))
	if !*full {
		return
	}
	if beside.rate < 0.95*alone.rate {
		t.Errorf("rate %.1f, want at least 95%% of %.1f", beside.rate, alone.rate)
	}
	if beside.seen.P99 > 2*alone.seen.P99 {
		t.Errorf("p99 %v, want at most twice %v", beside.seen.P99, alone.seen.P99)
	}
}
