// Package registry knows who gets the events of a channel, and what is kept
// beside each subscriber: whether it has consented, when its registration
// ends, and the secrets under which its requests are signed.
package registry

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// Config says what a Registry does.
type Config struct {
	Engine engine.Engine
	Log    *slog.Logger
	// Lease is how long a registration lasts unless it is renewed; 0 for ever.
	Lease time.Duration
	// AskConsent, unless nil, asks a callback URL whether it wants a channel's
	// events. Its error is an ErrNoConsent if it does not.
	AskConsent func(ctx context.Context, channel, callbackURL string) error
	// Timeout bounds calls of the engine that no caller bounds.
	Timeout time.Duration
}

// Registry knows the subscribers. Its methods may be called concurrently.
type Registry struct {
	Config
	attributes engine.Attributes // nil if the engine keeps none
	audiences  audiences
	consents   consents
	secrets    secrets
	discards   discards
	noURLs     notedChannels
}

// ErrUnsupported is returned where the engine can't keep what it would have to.
var ErrUnsupported = errors.New("the engine does not implement engine.Attributes")

// New returns the registry on an engine.
func New(c Config) (*Registry, error) {
	r := &Registry{Config: c}
	r.attributes, _ = c.Engine.(engine.Attributes)
	if c.AskConsent != nil && r.attributes == nil {
		return nil, ErrUnsupported
	}
	return r, nil
}
