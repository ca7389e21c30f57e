package main

import (
	"cmp"
	"os"

	"github.com/spf13/pflag"

	"github.com/watermarkchurch/toot-go/cmd/toot/internal/peer"
)

// publisherFlag is --publisher of the commands that talk to one.
type publisherFlag struct{ url, token string }

func (f *publisherFlag) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.url, "publisher", "", "the URL of a publisher's subscriptions service, or of toot serve; it may contain name:password@ (default: $TOOT_PUBLISHER, or http://127.0.0.1:8080)")
	flags.StringVar(&f.token, "token", "", "a Bearer token (default: $TOOT_TOKEN)")
}

func (f *publisherFlag) open() (*peer.Publisher, error) {
	p, err := peer.New(cmp.Or(f.url, os.Getenv("TOOT_PUBLISHER"), "http://127.0.0.1:8080"), cmp.Or(f.token, os.Getenv("TOOT_TOKEN")))
	if err != nil {
		return nil, &usageError{err}
	}
	return p, nil
}
