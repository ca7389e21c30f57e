package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"

	"github.com/spf13/cobra"

	"github.com/watermarkchurch/toot-go/cmd/toot/internal/peer"
	"github.com/watermarkchurch/toot-go/cmd/toot/internal/ui"
	"github.com/watermarkchurch/toot-go/internal/wire"
)

func (c *command) publish() *cobra.Command {
	var p publisherFlag
	var key, after string
	var ndjson, asJSON bool
	cmd := &cobra.Command{
		Use:   "publish CHANNEL [PAYLOAD|-]",
		Short: "Publish an event through toot serve",
		Long: `Publishes an event through toot serve and prints its ID once it is durable. The
payload is JSON. Without one it is {}, and "-" reads it from standard input. With
--ndjson each line is the payload of an event; all are published, or none. With
--after the event is kept, and sent to those who are subscribed by then. How many
are subscribed now is printed, too.`,
		Example: `  toot publish users.updated.v1 '{"id":123}'
  date +'{"now":"%F"}' | toot publish clock.ticked.v1 -
  toot publish users.imported.v1 --ndjson - < users.ndjson
  toot publish orders.placed.v1 '{"id":7}' --key order-7
  toot publish reminders.due.v1 '{"id":7}' --after 48h`,
		Args: arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			payload, err := c.payload(args[1:], ndjson)
			if err != nil {
				return err
			}
			if after != "" {
				if _, _, err := wire.ParseAfter(after); err != nil {
					return usagef("can't read --after %q: %v", after, err)
				}
			}
			publisher, err := p.open()
			if err != nil {
				return err
			}
			events, err := publisher.Publish(cmd.Context(), args[0], key, after, payload, ndjson)
			if err != nil {
				return err
			}
			done, note := publishedHow(after), ""
			if len(events) > 0 && events[0].Known {
				done, note = "known", ": the key was used before, and publishes once"
			}
			for _, e := range events {
				if asJSON {
					if err := c.out.JSON(e); err != nil {
						return err
					}
				} else if !ndjson || c.verbose {
					c.out.Say("%s %s on %s%s", c.out.Paint(ui.Green, done), ui.Clean(e.ID), ui.Clean(e.Channel), note+c.toWhom(e, after))
				}
			}
			if ndjson && !asJSON {
				c.out.Say("%s %s%s", c.out.Paint(ui.Green, done), ui.Plural(len(events), "event"), note+c.toWhom(events[0], after))
			}
			return nil
		},
	}
	p.add(cmd.Flags())
	cmd.Flags().StringVar(&key, "key", "", "an Idempotency-Key: a repeat with the same key, within the hour, publishes nothing new")
	cmd.Flags().StringVar(&after, "after", "", "send it later: after a duration such as 10m, or at a time such as 2026-11-23T09:11:13Z")
	cmd.Flags().BoolVar(&ndjson, "ndjson", false, "publish each line as the payload of an event")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object for each event")
	return cmd
}

func publishedHow(after string) string {
	if after != "" {
		return "scheduled"
	}
	return "published"
}

// toWhom says how many get an event, or would if it were sent now. All events of a
// call are on one channel.
func (c *command) toWhom(e peer.Published, after string) string {
	switch {
	case e.Subscribers == nil: // a server of an older release
		return ""
	case *e.Subscribers > 0:
		return ", " + ui.Plural(*e.Subscribers, "subscriber")
	case after != "":
		return ", " + c.out.Paint(ui.Yellow, "nobody is subscribed yet")
	}
	return ", " + c.out.Paint(ui.Yellow, "nobody is subscribed")
}

// payload is what is to be published.
func (c *command) payload(args []string, ndjson bool) ([]byte, error) {
	var payload []byte
	switch {
	case len(args) == 0 && !ndjson:
		return []byte("{}"), nil
	case len(args) == 0 || args[0] == "-":
		var err error
		if payload, err = io.ReadAll(io.LimitReader(c.in, math.MaxInt32)); err != nil {
			return nil, fmt.Errorf("can't read standard input: %w", err)
		}
	default:
		payload = []byte(args[0])
	}
	if !ndjson && !json.Valid(bytes.TrimSpace(payload)) {
		return nil, usagef("the payload is not JSON: text needs double quotes inside the shell's, such as '\"text\"'")
	}
	return payload, nil
}
