package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/watermarkchurch/toot-go/cmd/toot/internal/peer"
	"github.com/watermarkchurch/toot-go/cmd/toot/internal/ui"
	"github.com/watermarkchurch/toot-go/engine/anyengine"
)

// subscriptionVerb is what is done about a callback URL and a channel.
type subscriptionVerb struct {
	use, short    string
	more, example string // of the description and the examples
	// do does it and returns what to say.
	do func(p *peer.Publisher, ctx context.Context, channel, callbackURL string) (said string, err error)
}

func (c *command) subscribe() *cobra.Command {
	return c.subscriptionCommand(subscriptionVerb{
		use: "subscribe", short: "Have a publisher send events to a callback URL",
		do: func(p *peer.Publisher, ctx context.Context, channel, callbackURL string) (string, error) {
			added, lease, err := p.Subscribe(ctx, channel, callbackURL)
			said := "subscribed"
			if !added {
				said = "was subscribed already"
			}
			if lease > 0 {
				said += ", for " + ui.Span(lease) + " unless this is repeated"
			}
			return said, err
		},
	})
}

func (c *command) subscriptionCommand(verb subscriptionVerb) *cobra.Command {
	var p publisherFlag
	var channels []string
	var callbackURL string
	cmd := &cobra.Command{
		Use:   verb.use + " CALLBACK_URL --channel CHANNEL…",
		Short: verb.short,
		Long: verb.short + `. Channels are named in full,
with the publisher's prefix. This may be repeated.` + verb.more,
		Example: fmt.Sprintf("  toot %s https://app.example.org/callbacks --channel users.updated.v1 \\\n      --publisher https://users.example.org/subscriptions", verb.use) + verb.example,
		Args:    arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			flagged := cmd.Flags().Changed("callback-url")
			switch {
			case len(args) == 1 && flagged:
				return usagef("one callback URL, please: as the argument, or with --callback-url")
			case len(args) == 1:
				callbackURL = args[0]
			case !flagged:
				return usagef("which callback URL? Name it as the argument, or with --callback-url")
			}
			if len(channels) == 0 {
				return usagef("which channel? Name one, or several, with --channel")
			}
			publisher, err := p.open()
			if err != nil {
				return err
			}
			for _, channel := range channels {
				said, err := verb.do(publisher, cmd.Context(), channel, callbackURL)
				if err != nil {
					return err
				}
				c.out.Say("%s %s", ui.Clean(channel), c.out.Paint(ui.Green, said))
			}
			return nil
		},
	}
	p.add(cmd.Flags())
	cmd.Flags().StringArrayVarP(&channels, "channel", "c", nil, "a channel, by its full name; repeatable")
	cmd.Flags().StringVar(&callbackURL, "callback-url", "", "the callback URL, instead of the argument")
	return cmd
}

func (c *command) subscriptions() *cobra.Command {
	var p publisherFlag
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "subscriptions",
		Short:   "List who is subscribed to a publisher's channels",
		Example: "  toot subscriptions --publisher https://users.example.org/subscriptions",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			publisher, err := p.open()
			if err != nil {
				return err
			}
			list, err := publisher.Subscriptions(cmd.Context())
			if err != nil {
				return err
			}
			return c.showSubscriptions(list, asJSON)
		},
	}
	p.add(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return cmd
}

func (c *command) showSubscriptions(list map[string][]string, asJSON bool) error {
	t := ui.Table{Columns: []ui.Column{{Title: "channel", Flex: true, Names: true}, {Title: "callback URL", Flex: true, Names: true}}}
	n := 0
	for _, channel := range slices.Sorted(maps.Keys(list)) {
		for _, url := range list[channel] {
			n++
			shown := url
			if strings.ContainsAny(url, "@?") {
				shown = anyengine.Redact(url)
			}
			if shown == "" && !asJSON {
				shown = "''"
			}
			if asJSON {
				err := c.out.JSON(struct {
					Channel     string `json:"channel"`
					CallbackURL string `json:"callback_url"`
				}{channel, shown})
				if err != nil {
					return err
				}
				continue
			}
			t.Add(ui.Clean(channel), ui.Clean(shown))
		}
	}
	switch {
	case asJSON:
	case n == 0:
		c.out.Say("Nobody is subscribed")
	default:
		c.out.Table(&t)
	}
	return nil
}
