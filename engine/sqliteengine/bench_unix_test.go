//go:build unix

package sqliteengine_test

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine"
)

// BenchmarkSteady is what an app does all the time: one call pushes, another
// settles what was pushed before. The figure to look at is the processor time.
func BenchmarkSteady(b *testing.B) {
	for _, n := range []int{1, 16, 256} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			e, err := sqliteengine.Open(filepath.Join(b.TempDir(), "toot.db"), nil)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = e.Close() }()
			pushed := make(chan []engine.Ticket, 4)
			b.ReportAllocs()
			b.ResetTimer()
			before := processorTime(b)
			go func() {
				defer close(pushed)
				for range b.N {
					res, err := e.Push(b.Context(), engine.PushRequest{Jobs: benchJobs("v7", n, time.Minute)})
					if err != nil {
						b.Error(err)
						return
					}
					pushed <- res.Tickets
				}
			}()
			for tickets := range pushed {
				if err := benchDone(b.Context(), e, tickets); err != nil {
					b.Fatal(err)
				}
			}
			spent := processorTime(b) - before
			b.ReportMetric(float64(spent.Microseconds())/float64(b.N*n), "cpu-µs/job")
		})
	}
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
