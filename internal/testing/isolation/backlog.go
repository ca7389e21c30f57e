package isolation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine"
)

// fillBacklog publishes events for an endpoint that refuses connections, while
// it tries to deliver them, and prints the most memory that took, in bytes.
func fillBacklog(file string, events int) error {
	eng, err := sqliteengine.Open(file, nil)
	if err != nil {
		return err
	}
	defer func() { _ = eng.Close() }()
	app, err := toot.New(eng, &toot.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	if _, err := eng.AddSubscriber(ctx, "a", "http://127.0.0.1:1/callbacks", 0); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- app.Run(ctx) }()
	text := strings.Repeat("x", 300)
	batch := make([]toot.Message, 500)
	for n := 0; n < events; n += len(batch) {
		for i := range batch {
			batch[i] = toot.Message{Channel: "a", Payload: map[string]any{"n": n + i, "text": text}}
		}
		if _, err := app.PublishAll(ctx, batch...); err != nil {
			return err
		}
	}
	time.Sleep(3 * time.Second) // of probing
	lanes, err := eng.Lanes(ctx)
	if err != nil {
		return err
	}
	if len(lanes) != 1 || lanes[0].Waiting+lanes[0].Leased != events {
		return fmt.Errorf("lanes: %+v", lanes)
	}
	most, err := peakMemory()
	if err != nil {
		return err
	}
	fmt.Println(most)
	stop()
	return errors.Join(<-done, app.Close())
}

// peakMemory is the largest resident set that this process has had.
func peakMemory() (bytes int64, err error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &bytes); n == 1 {
			return bytes << 10, nil
		}
	}
	return 0, errors.New("no VmHWM in /proc/self/status")
}
