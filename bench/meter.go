package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"time"
)

// sample is one measurement of one row.
type sample struct {
	events    int // or deliveries, where a row counts those
	elapsed   time.Duration
	cpu       time.Duration // of this process, which plays all parts but Redis
	redisCPU  time.Duration
	allocs    uint64
	rss       int64           // the peak, in bytes; 0: not known
	latencies []time.Duration // publish to handled
	emptyRate float64         // of an empty queue, for the backlog
}

func (s *sample) rate() float64 { return float64(s.events) / s.elapsed.Seconds() }

// percentile returns the p-th percentile of the latencies in milliseconds.
func (s *sample) percentile(p int) float64 {
	if len(s.latencies) == 0 {
		return 0
	}
	slices.Sort(s.latencies)
	return float64(s.latencies[(len(s.latencies)-1)*p/100].Microseconds()) / 1000
}

// measure notes what play costs, which returns the number of events it was.
func (s *stage) measure(ctx context.Context, play func(context.Context) (int, error)) (_ sample, err error) {
	// What earlier rows left behind is not this one's.
	debug.FreeOSMemory()
	resetPeak()
	stop, err := s.startProfile()
	if err != nil {
		return sample{}, err
	}
	redisBefore, err := s.redisCPU(ctx)
	if err != nil {
		return sample{}, err
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpuBefore := processCPU()
	began := time.Now()

	events, err := play(ctx)

	m := sample{events: events, elapsed: time.Since(began), cpu: processCPU() - cpuBefore}
	runtime.ReadMemStats(&after)
	m.allocs = after.Mallocs - before.Mallocs
	m.rss = peak()
	if err := errors.Join(err, stop()); err != nil {
		return sample{}, err
	}
	redisAfter, err := s.redisCPU(ctx)
	m.redisCPU = redisAfter - redisBefore
	return m, err
}

// startProfile profiles until stop, if that was asked for.
func (s *stage) startProfile() (stop func() error, err error) {
	if s.profile == "" {
		return func() error { return nil }, nil
	}
	if err := os.MkdirAll(filepath.Dir(s.profile), 0o750); err != nil {
		return nil, err
	}
	cpu, err := os.Create(s.profile + ".cpu.pprof")
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return nil, errors.Join(err, cpu.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		// The allocations are those since the program began: --only one row
		// for a clear picture.
		allocs, err := os.Create(s.profile + ".allocs.pprof")
		if err != nil {
			return errors.Join(err, cpu.Close())
		}
		return errors.Join(cpu.Close(), pprof.Lookup("allocs").WriteTo(allocs, 0), allocs.Close())
	}, nil
}
