package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/watermarkchurch/toot-go/cmd/toot/internal/peer"
	"github.com/watermarkchurch/toot-go/signing"
)

func (c *command) unsubscribe() *cobra.Command {
	var secretFile string
	var discard bool
	cmd := c.subscriptionCommand(subscriptionVerb{
		use: "unsubscribe", short: "Have a publisher stop sending events to a callback URL",
		more: `

Events that wait for the callback URL, because they failed before or it is slow, are
still sent to it. --discard has the publisher discard them, those of the named
channels, as each comes due. Publishers in Ruby don't know how to.

Publishers in Ruby accept any text as a callback URL. Such text gets no events, and is
removed in the same way: an empty one with --callback-url ''.

If the subscriber has handed over a signing secret, the publisher wants the request
signed with it: name a file that has it with --signing-secret-file.`,
		example: "\n  toot unsubscribe http://127.0.0.1:9000/callbacks --channel users.updated.v1 --discard",
		do: func(p *peer.Publisher, ctx context.Context, channel, callbackURL string) (string, error) {
			keys, err := readKeys(secretFile)
			if err != nil {
				return "", err
			}
			r, err := p.Unsubscribe(ctx, channel, callbackURL, peer.UnsubscribeOptions{Discard: discard, Keys: keys})
			if err != nil {
				return "", err
			}
			return saidOf(r, discard), nil
		},
	})
	cmd.Flags().BoolVar(&discard, "discard", false, "have the events that wait for the callback URL discarded, too")
	cmd.Flags().StringVar(&secretFile, "signing-secret-file", "", "a file whose first line is the signing secret of the callback URL")
	return cmd
}

// saidOf says what became of a request to unsubscribe.
func saidOf(r peer.Removal, discard bool) string {
	said := "was not subscribed"
	if r.Removed {
		said = "unsubscribed"
	}
	switch {
	case discard && r.Discarded:
		said += "; what waits for it is discarded"
	case discard:
		said += "; but this publisher can't discard what waits for it, and goes on sending that"
	}
	return said
}

// readKeys reads a signing secret from a file; without a name there is none.
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
		return nil, usagef("--signing-secret-file: the first line is not a secret: %s", strings.TrimPrefix(err.Error(), "signing: "))
	}
	return keys, nil
}
