package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/cmd/toot/internal/ui"
)

// deadJSON is a dead letter as --json prints it.
type deadJSON struct {
	ID       string          `json:"id"`
	Kind     string          `json:"kind"`
	Lane     string          `json:"lane"`
	Channel  string          `json:"channel"`
	EventID  string          `json:"event_id"`
	BuriedAt time.Time       `json:"buried_at"`
	Reason   string          `json:"reason"`
	Attempts int             `json:"attempts"`
	Probes   int             `json:"probes"`
	Tries    []toot.Try      `json:"tries"`           // the last ones, probes included
	Event    json.RawMessage `json:"event,omitempty"` // show only
}

func asDeadJSON(l *toot.DeadLetter) deadJSON {
	d := deadJSON{l.ID, l.Kind.String(), l.RedactedLane, l.Channel, l.EventID, l.BuriedAt.UTC(), l.Reason, l.Attempts, l.Probes, l.Tries, nil}
	if d.Tries == nil {
		d.Tries = []toot.Try{}
	}
	return d
}

// listDead prints a table, or JSON.
func (c *command) listDead(ctx context.Context, s *openStore, filter *deadFilter, asJSON bool) error {
	t := ui.Table{Columns: []ui.Column{{Title: "ID"}, {Title: "buried", Right: true}, {Title: "kind"}, {Title: "channel", Flex: true, Names: true}, {Title: "lane", Flex: true, Names: true}, {Title: "tries", Right: true}, {Title: "reason", Flex: true}}}
	n := 0
	for letter, err := range filter.find(ctx, s) {
		if err != nil {
			return err
		}
		n++
		if asJSON {
			if err := c.out.JSON(asDeadJSON(letter)); err != nil {
				return err
			}
			continue
		}
		t.Add(letter.ID, ui.Cell{Text: ui.Span(time.Since(letter.BuriedAt)) + " ago", Color: ui.Dim}, letter.Kind.String(), ui.Clean(letter.Channel),
			ui.Clean(letter.RedactedLane), ui.Count(letter.Attempts), ui.Cell{Text: ui.Clean(shortReason(letter.Reason)), Color: ui.Red})
	}
	switch {
	case asJSON:
	case n == 0:
		c.out.Say("No dead letters")
	default:
		c.out.Table(&t)
		if n == filter.limit {
			c.out.Say("\n  These are the first %s: --limit shows more, and filters narrow the list.", ui.Count(n))
		}
	}
	return nil
}

// shortReason is a reason without what the list shows anyway.
func shortReason(reason string) string {
	return afterTries.ReplaceAllString(strings.TrimPrefix(reason, "answered with "), "")
}

var afterTries = regexp.MustCompile(` \(after \d+ (try|tries)( and \d+ probes?)?\)$`)

// showDead prints everything about some dead letters.
func (c *command) showDead(ctx context.Context, s *openStore, ids []string, asJSON bool) error {
	found, err := deadByID(ctx, s, ids)
	if err != nil {
		return err
	}
	var missing []string
	for i, id := range ids {
		letter := found[id]
		switch {
		case letter == nil:
			missing = append(missing, id)
		case asJSON:
			d := asDeadJSON(letter)
			if d.Event = letter.Body; !json.Valid(letter.Body) {
				d.Event, _ = json.Marshal(string(letter.Body)) // a string always marshals
			}
			if err := c.out.JSON(d); err != nil {
				return err
			}
		default:
			if i > 0 {
				c.out.Say("")
			}
			c.showOneDead(letter)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("there is no dead letter %s: see toot dead list", strings.Join(missing, ", "))
	}
	return nil
}

func (c *command) showOneDead(l *toot.DeadLetter) {
	c.out.Say("%s", c.out.Paint(ui.Bold, "Dead letter "+l.ID))
	fact := func(name, value string, color ui.Color) {
		c.out.Say("  %s   %s", c.out.Paint(ui.Dim, fmt.Sprintf("%-8s", name)), c.out.Paint(color, c.out.Fold(ui.Clean(value), 13)))
	}
	fact("event", l.EventID, ui.Plain)
	fact("channel", l.Channel, ui.Plain)
	fact(l.Kind.String(), l.RedactedLane, ui.Plain)
	fact("buried", l.BuriedAt.Local().Format("2006-01-02 15:04:05 -0700")+", "+ui.Span(time.Since(l.BuriedAt))+" ago", ui.Plain)
	fact("tries", triesAndProbes(l), ui.Plain)
	fact("reason", l.Reason, ui.Red)
	if len(l.Tries) > 0 {
		c.showTries(l)
	}
	c.out.Say("\n%s", c.out.Paint(ui.Bold, "The event"))
	c.out.Say("%s", ui.Indent(prettyJSON(l.Body), "  "))
}

// showTries prints the tries that are kept, one a line where there is room.
func (c *command) showTries(l *toot.DeadLetter) {
	title := "The tries"
	if len(l.Tries) < l.Attempts+l.Probes {
		title = "The last tries"
	}
	c.out.Say("\n%s", c.out.Paint(ui.Bold, title))
	at := "2006-01-02 15:04:05.000"
	if c.out.Width() < 80 {
		at = "2006-01-02 15:04:05"
	}
	columns := fmt.Sprintf("  %%-%ds  %%7s  %%6s  ", len(at))
	c.out.Say("%s", c.out.Paint(ui.Dim, fmt.Sprintf(columns, "at", "attempt", "status")+"error"))
	for _, try := range l.Tries {
		status := "–"
		if try.Status != 0 {
			status = fmt.Sprint(try.Status)
		}
		line := fmt.Sprintf(columns, try.At.Local().Format(at), attempt(&try), status)
		c.out.Say("%s%s", line, c.out.Fold(ui.Clean(try.Error), len(at)+21))
	}
}

// attempt is the number of a try, as it is in the log. Probes have none of their
// own, as they cost no retry.
func attempt(t *toot.Try) string {
	switch {
	case t.Probe:
		return "probe"
	case t.Attempt == 0: // of an earlier version
		return "–"
	}
	return ui.Count(t.Attempt)
}

// triesAndProbes says how many there were.
func triesAndProbes(l *toot.DeadLetter) string {
	tries := ui.Count(l.Attempts)
	if l.Probes > 0 {
		tries += ", and " + ui.Plural(l.Probes, "probe") + " to see whether it works again, which cost no retry"
	}
	return tries
}

// prettyJSON lays JSON out over several lines. Numbers and the order of
// members stay as they are; what is no JSON comes back cleaned.
func prettyJSON(body []byte) string {
	var b bytes.Buffer
	if json.Indent(&b, body, "", "  ") != nil {
		return ui.Clean(string(body))
	}
	lines := strings.Split(b.String(), "\n")
	for i := range lines {
		lines[i] = ui.Clean(lines[i])
	}
	return strings.Join(lines, "\n")
}
