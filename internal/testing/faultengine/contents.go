package faultengine

import (
	"context"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// The methods of engine.Contents.
const (
	Registrations   Method = "Registrations"
	AttributeGroups Method = "AttributeGroups"
	Realms          Method = "Realms"
	Later           Method = "Later"
)

var _ engine.Contents = (*Engine)(nil)

// Registrations implements engine.Contents.
func (e *Engine) Registrations(ctx context.Context, channel string) ([]engine.Registration, error) {
	return of(ctx, e, Registrations, func(c engine.Contents) ([]engine.Registration, error) { return c.Registrations(ctx, channel) })
}

// AttributeGroups implements engine.Contents.
func (e *Engine) AttributeGroups(ctx context.Context) ([]string, error) {
	return of(ctx, e, AttributeGroups, func(c engine.Contents) ([]string, error) { return c.AttributeGroups(ctx) })
}

// Realms implements engine.Contents.
func (e *Engine) Realms(ctx context.Context, prefix string) ([]string, error) {
	return of(ctx, e, Realms, func(c engine.Contents) ([]string, error) { return c.Realms(ctx, prefix) })
}

// Later implements engine.Contents.
func (e *Engine) Later(ctx context.Context, lane engine.Lane, after time.Duration, limit int) ([]engine.LaterJob, error) {
	return of(ctx, e, Later, func(c engine.Contents) ([]engine.LaterJob, error) { return c.Later(ctx, lane, after, limit) })
}
