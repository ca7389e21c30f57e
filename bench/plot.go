package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
)

// plot is how a cost grows with something. Cost is processor time, Redis's
// included: it hardly depends on what else the machine does.
type plot struct {
	File   string   `json:"file"`
	Title  string   `json:"title"`
	X      string   `json:"x"`
	Y      string   `json:"y"`
	Series []series `json:"series"`
}

type series struct {
	Name   string  `json:"name"`
	Points []point `json:"points"`
}

type point struct {
	X       float64 `json:"x"`
	Y       float64 `json:"y"`
	PerS    float64 `json:"per_s"`
	PeakRSS float64 `json:"rss_mb"`
}

const kilobyte = 1 << 10

// measurePlots measures each point once: a curve shows by itself whether one
// of them is off.
func (b *bench) measurePlots(ctx context.Context) ([]plot, error) {
	payloads := plot{File: "payload.svg", Title: "Cost of an event against its size", X: "bytes of payload", Y: "CPU µs per event"}
	backlogs := plot{File: "backlog.svg", Title: "Cost of draining against the backlog", X: "events waiting", Y: "CPU µs per event"}
	subscribers := plot{File: "subscribers.svg", Title: "Cost of a delivery against the number of subscribers", X: "subscribers", Y: "CPU µs per delivery"}

	for _, where := range []store{onSQLite, onRedis} {
		for _, l := range []load{singles, batches} {
			s := series{Name: string(where) + ", one a POST"}
			if l.batch > 1 {
				s.Name = string(where) + ", batches"
			}
			for _, size := range []int{kilobyte, 10 * kilobyte, 100 * kilobyte} {
				if err := b.plotPoint(ctx, &s, float64(size), fullLifeOf(where, heavy(l, size), size)); err != nil {
					return nil, err
				}
			}
			payloads.Series = append(payloads.Series, s)
		}
		s := series{Name: string(where)}
		for size := 1000; size <= b.backlog; size *= 10 {
			if err := b.plotPoint(ctx, &s, float64(size), backlog(where, size)); err != nil {
				return nil, err
			}
		}
		backlogs.Series = append(backlogs.Series, s)
		s = series{Name: string(where)}
		for n := 1; n <= 10_000; n *= 10 {
			if err := b.plotPoint(ctx, &s, float64(n), bareReceivers(where, singles, n)); err != nil {
				return nil, err
			}
		}
		subscribers.Series = append(subscribers.Series, s)
	}
	b.progress.done()
	return []plot{payloads, backlogs, subscribers}, nil
}

// heavy is a load whose events are large: fewer at once, so that a row does
// not measure gigabytes.
func heavy(l load, size int) load {
	share := max(size/kilobyte, 1)
	l.batch = max(l.batch/share, min(l.batch, 2))
	l.window = max(l.window/share, l.batch*4)
	return l
}

func (b *bench) plotPoint(ctx context.Context, s *series, x float64, play func(context.Context, *bench, *stage) (sample, error)) error {
	b.progress.say("plot: %s, %s", s.Name, thousands(x))
	m, err := b.play(ctx, row{name: "plot", run: play})
	if err != nil {
		return fmt.Errorf("plot: %s, %s: %w", s.Name, thousands(x), err)
	}
	cost := (m.cpu + m.redisCPU).Seconds() * 1e6 / float64(max(m.events, 1))
	s.Points = append(s.Points, point{X: x, Y: cost, PerS: m.rate(), PeakRSS: float64(m.rss) / (1 << 20)})
	return nil
}

func writePlots(dir string, plots []plot) error {
	for _, p := range plots {
		err := write(filepath.Join(dir, p.File), func(w io.Writer) error {
			_, err := io.WriteString(w, p.svg())
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
