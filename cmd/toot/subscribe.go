package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/watermarkchurch/toot-go/cmd/toot/internal/peer"
	"github.com/watermarkchurch/toot-go/cmd/toot/internal/ui"
	"github.com/watermarkchurch/toot-go/engine/anyengine"
	"github.com/watermarkchurch/toot-go/signing"
)

// subscriptionVerb is what is done about a callback URL and a channel.
type subscriptionVerb struct {
	use, short   string
	more         string // of the description
	done, needno string // what to say
	do           func(p *peer.Publisher, ctx context.Context, channel, callbackURL string) (changed bool, err error)
}

func (c *command) subscribe() *cobra.Command {
	return c.subscriptionCommand(subscriptionVerb{
		"subscribe", "Have a publisher send events to a callback URL", "", "subscribed", "was subscribed already",
		func(p *peer.Publisher, ctx context.Context, channel, callbackURL string) (bool, error) {
			added, _, err := p.Subscribe(ctx, channel, callbackURL)
			return added, err
		},
	})
}

func (c *command) unsubscribe() *cobra.Command {
	var secretFile string
	cmd := c.subscriptionCommand(subscriptionVerb{
		"unsubscribe", "Have a publisher stop sending events to a callback URL", `

Publishers in Ruby take any text for a callback URL. What is none gets no
events, and is removed in the same way: an empty one with --callback-url ''.

Where the subscriber has handed over a signing secret, a publisher wants the
request signed with it: name a file that has it with --signing-secret-file.`, "unsubscribed", "was not subscribed",
		func(p *peer.Publisher, ctx context.Context, channel, callbackURL string) (bool, error) {
			keys, err := readKeys(secretFile)
			if err != nil {
				return false, err
			}
			return p.Unsubscribe(ctx, channel, callbackURL, keys...)
		},
	})
	cmd.Flags().StringVar(&secretFile, "signing-secret-file", "", "a file whose first line is the signing secret of the callback URL")
	return cmd
}

// readKeys reads a signing secret from a file, of which none is named if there is
// no secret.
func readKeys(file string) ([]signing.Key, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file) //nolint:gosec // G304: the user names the file
	if err != nil {
		return nil, fmt.Errorf("can't read the signing secret: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	keys, err := signing.ParseSecrets([]string{strings.TrimSpace(line)})
	if err != nil {
		return nil, usagef("--signing-secret-file: the first line is no secret: %s", strings.TrimPrefix(err.Error(), "signing: "))
	}
	return keys, nil
}

func (c *command) subscriptionCommand(verb subscriptionVerb) *cobra.Command {
	var p publisherFlag
	var channels []string
	var callbackURL string
	cmd := &cobra.Command{
		Use:   verb.use + " CALLBACK_URL --channel CHANNEL…",
		Short: verb.short,
		Long: verb.short + `. Channels are full names, with the
publisher's prefix. It is safe to repeat.` + verb.more,
		Example: fmt.Sprintf("  toot %s https://app.example.org/callbacks --channel users.updated.v1 --publisher https://users.example.org/subscriptions", verb.use),
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
				changed, err := verb.do(publisher, cmd.Context(), channel, callbackURL)
				if err != nil {
					return err
				}
				what := verb.done
				if !changed {
					what = verb.needno
				}
				c.out.Say("%s %s", ui.Clean(channel), c.out.Paint(ui.Green, what))
			}
			return nil
		},
	}
	p.add(cmd.Flags())
	cmd.Flags().StringArrayVarP(&channels, "channel", "c", nil, "a channel; may be given several times")
	cmd.Flags().StringVar(&callbackURL, "callback-url", "", "the callback URL, instead of the argument")
	return cmd
}

func (c *command) subscriptions() *cobra.Command {
	var p publisherFlag
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "subscriptions",
		Short:   "List what a publisher's channels are subscribed to by",
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
