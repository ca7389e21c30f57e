package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/cmd/toot/internal/ui"
	"github.com/watermarkchurch/toot-go/engine"
)

func (c *command) stats() *cobra.Command {
	var s storeFlag
	var watch, asJSON bool
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Show what waits in a store, lane by lane",
		Long: `Shows what waits in a store. Each callback URL and each subscription has a lane
of its own: how many jobs wait there (and how many "later", events that were
published with --after), how many are being worked on, how many of
those that wait have failed before, how many are dead, how old the oldest is,
and how much longer the lane rests because its endpoint keeps failing. A
subscription that no process has is marked as unhandled: see toot unhandled.`,
		Example: "  toot stats --store sqlite:shop.db\n  toot stats --watch\n  toot stats --json | jq .waiting",
		Args:    arguments(0, 0),
		RunE: c.withStore(&s, func([]string) error {
			if every < 100*time.Millisecond {
				return usagef("--interval must be at least 100ms")
			}
			return nil
		}, func(ctx context.Context, s *openStore, _ []string) error {
			if !watch {
				return c.showStats(ctx, s, asJSON, nil)
			}
			return c.watchStats(ctx, s, asJSON, every)
		}),
	}
	s.add(cmd.Flags())
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "show it again and again, until Ctrl-C")
	cmd.Flags().DurationVar(&every, "interval", 2*time.Second, "how often, with --watch")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object; with --watch, one a line")
	return cmd
}

// change is what has become of a number between two looks.
type change struct {
	before map[laneKey]int
	at     time.Time
}

type laneKey struct {
	kind engine.Kind
	name string
}

func (c *command) watchStats(ctx context.Context, s *openStore, asJSON bool, every time.Duration) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	last := &change{}
	for {
		err := c.out.Frame(func() error { return c.showStats(ctx, s, asJSON, last) })
		if err != nil {
			if ctx.Err() != nil {
				return nil // Ctrl-C is how it ends
			}
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (c *command) showStats(ctx context.Context, s *openStore, asJSON bool, last *change) error {
	stats, err := s.Stats(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	if asJSON {
		return c.out.JSON(asStatsJSON(stats, now))
	}
	if last != nil && c.out.Terminal() {
		c.out.Say("%s  %s\n", c.out.Paint(ui.Bold, "toot stats"), c.out.Paint(ui.Dim, now.Format("15:04:05")+", Ctrl-C ends it"))
	}
	if len(stats.Lanes) == 0 {
		c.out.Say("Nothing waits, and nothing is dead")
		return nil
	}
	columns := []ui.Column{
		{Title: "kind"}, {Title: "lane", Flex: true, Names: true}, {Title: "waiting", Right: true}, {Title: "in flight", Right: true}, {Title: "retrying", Right: true},
		{Title: "dead", Right: true}, {Title: "oldest", Right: true}, {Title: "rests", Right: true},
	}
	if last != nil {
		columns = append(columns, ui.Column{Title: "change", Right: true, Min: 8})
	}
	t := ui.Table{Columns: columns}
	before := map[laneKey]int{}
	for _, l := range stats.Lanes {
		key := laneKey{l.Kind, l.Name}
		before[key] += l.Waiting + l.InFlight
		lane := ui.Cell{Text: ui.Clean(l.Name)}
		if l.Unhandled {
			lane = ui.Cell{Text: lane.Text + " (unhandled)", Color: ui.Yellow}
		}
		row := []any{
			ui.Cell{Text: l.Kind.String(), Color: kindColor(l.Kind)}, lane, waiting(l.Waiting, l.Scheduled, ui.Plain), number(l.InFlight, ui.Plain),
			number(l.Retrying, ui.Yellow), number(l.Dead, ui.Red), span(l.Oldest), span(l.Deferred),
		}
		if last != nil {
			row = append(row, last.since(key, before[key], now))
		}
		t.Add(row...)
	}
	if len(stats.Lanes) > 1 {
		t.Add(ui.Cell{Text: "all", Color: ui.Bold}, ui.Cell{Text: ui.Plural(len(stats.Lanes), "lane"), Color: ui.Bold}, waiting(stats.Waiting, stats.Scheduled, ui.Bold),
			number(stats.InFlight, ui.Bold), number(stats.Retrying, ui.Yellow), number(stats.Dead, ui.Red), span(stats.Oldest))
	}
	c.out.Table(&t)
	if last != nil {
		last.before, last.at = before, now
		if !c.out.Terminal() {
			c.out.Say("")
		}
	}
	return nil
}

func (l *change) since(key laneKey, now int, at time.Time) ui.Cell {
	if l.before == nil {
		return ui.Cell{}
	}
	perSecond := float64(now-l.before[key]) / at.Sub(l.at).Seconds()
	switch {
	case perSecond >= 0.5:
		return ui.Cell{Text: fmt.Sprintf("+%s/s", ui.Count(int(perSecond+0.5))), Color: ui.Yellow}
	case perSecond <= -0.5:
		return ui.Cell{Text: fmt.Sprintf("−%s/s", ui.Count(int(0.5-perSecond))), Color: ui.Green}
	}
	return ui.Cell{}
}

func number(n int, color ui.Color) ui.Cell {
	if n == 0 {
		return ui.Cell{Text: "–", Color: ui.Dim}
	}
	return ui.Cell{Text: ui.Count(n), Color: color}
}

// waiting shows how many wait, and how many are to be sent later.
func waiting(n, scheduled int, color ui.Color) ui.Cell {
	later := ui.Count(scheduled) + " later"
	switch {
	case scheduled == 0:
		return number(n, color)
	case n == 0:
		return ui.Cell{Text: later, Color: color}
	}
	return ui.Cell{Text: ui.Count(n) + " + " + later, Color: color}
}

func span(d time.Duration) ui.Cell {
	if d <= 0 {
		return ui.Cell{Text: "–", Color: ui.Dim}
	}
	return ui.Cell{Text: ui.Span(d)}
}

func kindColor(k engine.Kind) ui.Color {
	if k == engine.Handle {
		return ui.Purple
	}
	return ui.Blue
}

// statsJSON is a store's state as --json prints it. Times are in seconds.
type statsJSON struct {
	At            time.Time  `json:"at"`
	Waiting       int        `json:"waiting"`
	Scheduled     int        `json:"scheduled"`
	InFlight      int        `json:"in_flight"`
	Retrying      int        `json:"retrying"`
	Dead          int        `json:"dead"`
	OldestSeconds float64    `json:"oldest_seconds"`
	Lanes         []laneJSON `json:"lanes"`
}

type laneJSON struct {
	Kind            string  `json:"kind"`
	Lane            string  `json:"lane"`
	Waiting         int     `json:"waiting"`
	Scheduled       int     `json:"scheduled"`
	InFlight        int     `json:"in_flight"`
	Retrying        int     `json:"retrying"`
	Dead            int     `json:"dead"`
	OldestSeconds   float64 `json:"oldest_seconds"`
	DeferredSeconds float64 `json:"deferred_seconds"`
	Unhandled       bool    `json:"unhandled,omitempty"`
}

func asLaneJSON(l toot.Lane) laneJSON {
	return laneJSON{l.Kind.String(), l.Name, l.Waiting, l.Scheduled, l.InFlight, l.Retrying, l.Dead, seconds(l.Oldest), seconds(l.Deferred), l.Unhandled}
}

func asStatsJSON(s toot.Stats, at time.Time) statsJSON {
	out := statsJSON{at.UTC().Truncate(time.Millisecond), s.Waiting, s.Scheduled, s.InFlight, s.Retrying, s.Dead, seconds(s.Oldest), make([]laneJSON, len(s.Lanes))}
	for i, l := range s.Lanes {
		out.Lanes[i] = asLaneJSON(l)
	}
	return out
}

// seconds rounds to milliseconds.
func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }
