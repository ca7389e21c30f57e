package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
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
	Tries    []toot.Try      `json:"tries"`
	Event    json.RawMessage `json:"event,omitempty"` // show only
}

func asDeadJSON(l *toot.DeadLetter) deadJSON {
	d := deadJSON{l.ID, l.Kind.String(), l.RedactedLane, l.Channel, l.EventID, l.BuriedAt.UTC(), l.Reason, l.Tries, nil}
	if d.Tries == nil {
		d.Tries = []toot.Try{}
	}
	return d
}

// listDead prints a table, or JSON.
func (c *command) listDead(ctx context.Context, s *openStore, filter *deadFilter, asJSON bool) error {
	t := ui.Table{Columns: []ui.Column{{Title: "ID"}, {Title: "buried", Right: true}, {Title: "kind"}, {Title: "channel", Flex: true}, {Title: "lane", Flex: true}, {Title: "tries", Right: true}, {Title: "reason", Flex: true}}}
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
			ui.Clean(letter.RedactedLane), len(letter.Tries), ui.Cell{Text: ui.Clean(letter.Reason), Color: ui.Red})
	}
	switch {
	case asJSON:
	case n == 0:
		c.out.Say("No dead letters")
	default:
		c.out.Table(&t)
		if n == filter.limit {
			c.out.Say("\n  These are the first %s; --limit shows more, filters fewer.", ui.Count(n))
		}
	}
	return nil
}

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
	t := ui.Table{Columns: []ui.Column{{Min: 8}, {}}}
	add := func(name, value string, color ui.Color) {
		t.Add(ui.Cell{Text: name, Color: ui.Dim}, ui.Cell{Text: ui.Clean(value), Color: color})
	}
	add("event", l.EventID, ui.Plain)
	add("channel", l.Channel, ui.Plain)
	add(l.Kind.String(), l.RedactedLane, ui.Plain)
	add("buried", l.BuriedAt.Local().Format("2006-01-02 15:04:05 -0700")+", "+ui.Span(time.Since(l.BuriedAt))+" ago", ui.Plain)
	add("reason", l.Reason, ui.Red)
	c.out.Table(&t)

	if len(l.Tries) > 0 {
		c.out.Say("\n%s", c.out.Paint(ui.Bold, "The last tries"))
		tries := ui.Table{Columns: []ui.Column{{Title: "at"}, {Title: "status", Right: true}, {Title: "error"}}}
		for _, try := range l.Tries {
			status := "–"
			if try.Status != 0 {
				status = fmt.Sprint(try.Status)
			}
			tries.Add(try.At.Local().Format("2006-01-02 15:04:05.000"), status, ui.Clean(try.Error))
		}
		c.out.Table(&tries)
	}

	c.out.Say("\n%s", c.out.Paint(ui.Bold, "The event"))
	c.out.Say("%s", ui.Indent(prettyJSON(l.Body), "  "))
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
