package faultengine

import (
	"context"
	"errors"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// The methods of engine.Credentials, engine.Attributes and engine.Memory.
const (
	Credential       Method = "Credential"
	Usernames        Method = "Usernames"
	PutCredential    Method = "PutCredential"
	RemoveCredential Method = "RemoveCredential"
	Attribute        Method = "Attribute"
	Attributes       Method = "Attributes"
	SwapAttribute    Method = "SwapAttribute"
	Remember         Method = "Remember"
)

var (
	_ engine.Credentials = (*Engine)(nil)
	_ engine.Attributes  = (*Engine)(nil)
	_ engine.Memory      = (*Engine)(nil)
)

// of is get for a method of an optional interface of the engine inside.
func of[I, T any](ctx context.Context, e *Engine, m Method, call func(inner I) (T, error)) (T, error) {
	inner, ok := e.inner.(I)
	if !ok {
		var none T
		return none, errors.ErrUnsupported
	}
	return get(ctx, e, Call{Method: m}, func() (T, error) { return call(inner) })
}

// Credential implements engine.Credentials.
func (e *Engine) Credential(ctx context.Context, realm, username string) ([]byte, error) {
	return of(ctx, e, Credential, func(c engine.Credentials) ([]byte, error) { return c.Credential(ctx, realm, username) })
}

// Usernames implements engine.Credentials.
func (e *Engine) Usernames(ctx context.Context, realm string) ([]string, error) {
	return of(ctx, e, Usernames, func(c engine.Credentials) ([]string, error) { return c.Usernames(ctx, realm) })
}

// PutCredential implements engine.Credentials.
func (e *Engine) PutCredential(ctx context.Context, realm, username string, proof []byte) error {
	_, err := of(ctx, e, PutCredential, func(c engine.Credentials) (struct{}, error) {
		return struct{}{}, c.PutCredential(ctx, realm, username, proof)
	})
	return err
}

// RemoveCredential implements engine.Credentials.
func (e *Engine) RemoveCredential(ctx context.Context, realm, username string) (bool, error) {
	return of(ctx, e, RemoveCredential, func(c engine.Credentials) (bool, error) { return c.RemoveCredential(ctx, realm, username) })
}

// Attribute implements engine.Attributes.
func (e *Engine) Attribute(ctx context.Context, group, name string) (engine.Attribute, error) {
	return of(ctx, e, Attribute, func(c engine.Attributes) (engine.Attribute, error) { return c.Attribute(ctx, group, name) })
}

// Attributes implements engine.Attributes.
func (e *Engine) Attributes(ctx context.Context, group string) (map[string]engine.Attribute, error) {
	return of(ctx, e, Attributes, func(c engine.Attributes) (map[string]engine.Attribute, error) { return c.Attributes(ctx, group) })
}

// SwapAttribute implements engine.Attributes.
func (e *Engine) SwapAttribute(ctx context.Context, group, name string, old, value []byte, keep time.Duration) (bool, error) {
	return of(ctx, e, SwapAttribute, func(c engine.Attributes) (bool, error) { return c.SwapAttribute(ctx, group, name, old, value, keep) })
}

// Remember implements engine.Memory.
func (e *Engine) Remember(ctx context.Context, key string, value []byte, d time.Duration) ([]byte, error) {
	return of(ctx, e, Remember, func(m engine.Memory) ([]byte, error) { return m.Remember(ctx, key, value, d) })
}
