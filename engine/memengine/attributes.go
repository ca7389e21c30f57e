package memengine

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

type attributeKey struct{ group, name string }

type attribute struct {
	value []byte
	set   time.Time
	until time.Time // zero if it has no end
}

// attribute returns the one under a key, nil if there is none. The store is
// locked.
func (s *Store) attribute(key attributeKey, now time.Time) *attribute {
	a, there := s.attrs[key]
	switch {
	case !there:
		return nil
	case !a.until.IsZero() && !now.Before(a.until):
		delete(s.attrs, key)
		return nil
	}
	return &a
}

// shown is an attribute as callers get it.
func (a *attribute) shown(now time.Time) engine.Attribute {
	if a == nil {
		return engine.Attribute{}
	}
	shown := engine.Attribute{Value: slices.Clone(a.value), Age: now.Sub(a.set)}
	if !a.until.IsZero() {
		shown.Left = a.until.Sub(now)
	}
	return shown
}

// Attribute implements engine.Attributes.
func (e *Engine) Attribute(ctx context.Context, group, name string) (engine.Attribute, error) {
	end, err := e.begin(ctx, engine.ValidateAttribute(group, name))
	if err != nil {
		return engine.Attribute{}, err
	}
	defer end()
	now := time.Now()
	return e.s.attribute(attributeKey{group, name}, now).shown(now), nil
}

// Attributes implements engine.Attributes.
func (e *Engine) Attributes(ctx context.Context, group string) (map[string]engine.Attribute, error) {
	end, err := e.begin(ctx, engine.ValidateGroup(group))
	if err != nil {
		return nil, err
	}
	defer end()
	now := time.Now()
	all := map[string]engine.Attribute{}
	for key := range e.s.attrs {
		if key.group != group {
			continue
		}
		if a := e.s.attribute(key, now); a != nil {
			all[key.name] = a.shown(now)
		}
	}
	return all, nil
}

// SwapAttribute implements engine.Attributes.
func (e *Engine) SwapAttribute(ctx context.Context, group, name string, old, value []byte, keep time.Duration) (bool, error) {
	end, err := e.begin(ctx, engine.ValidateAttribute(group, name))
	if err != nil {
		return false, err
	}
	defer end()
	now := time.Now()
	key := attributeKey{group, name}
	var current []byte
	if a := e.s.attribute(key, now); a != nil {
		current = a.value
	}
	if !bytes.Equal(current, old) {
		return false, nil
	}
	if len(value) == 0 {
		delete(e.s.attrs, key)
		return true, nil
	}
	a := attribute{value: slices.Clone(value), set: now}
	if keep > 0 {
		a.until = now.Add(keep)
	}
	e.s.attrs[key] = a
	return true, nil
}
