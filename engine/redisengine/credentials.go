package redisengine

import (
	"context"
	"slices"

	"github.com/redis/rueidis"

	"github.com/watermarkchurch/toot-go/engine"
)

// Credentials are a HASH whose key is the realm, in no namespace but that of
// Options.RedisNamespace: where the Ruby original keeps them.

// Credential returns what is kept under a user name, as engine.Credentials
// says.
func (e *Engine) Credential(ctx context.Context, realm, username string) (proof []byte, err error) {
	if err := engine.ValidateCredential(realm, username); err != nil {
		return nil, err
	}
	err = e.call(ctx, func(ctx context.Context) (err error) {
		proof, err = e.client.Do(ctx, e.client.B().Hget().Key(e.shared+realm).Field(username).Build()).AsBytes()
		if rueidis.IsRedisNil(err) {
			return nil
		}
		return err
	})
	if len(proof) == 0 {
		return nil, err
	}
	return slices.Clone(proof), err
}

// Usernames returns the user names of a realm, as engine.Credentials says.
func (e *Engine) Usernames(ctx context.Context, realm string) (names []string, err error) {
	if err := engine.ValidateRealm(realm); err != nil {
		return nil, err
	}
	err = e.call(ctx, func(ctx context.Context) (err error) {
		all, err := e.client.Do(ctx, e.client.B().Hgetall().Key(e.shared+realm).Build()).AsStrMap()
		names = nil
		for name := range all {
			names = append(names, name)
		}
		return err
	})
	slices.Sort(names)
	return names, err
}

// PutCredential keeps a proof under a user name, as engine.Credentials says.
func (e *Engine) PutCredential(ctx context.Context, realm, username string, proof []byte) error {
	if err := engine.ValidateProof(realm, username, proof); err != nil {
		return err
	}
	return e.call(ctx, func(ctx context.Context) error {
		return e.client.Do(ctx, e.client.B().Hset().Key(e.shared+realm).FieldValue().FieldValue(username, rueidis.BinaryString(proof)).Build()).Error()
	})
}

// RemoveCredential deletes a user name, as engine.Credentials says.
func (e *Engine) RemoveCredential(ctx context.Context, realm, username string) (removed bool, err error) {
	if err := engine.ValidateCredential(realm, username); err != nil {
		return false, err
	}
	err = e.call(ctx, func(ctx context.Context) error {
		n, err := e.client.Do(ctx, e.client.B().Hdel().Key(e.shared+realm).Field(username).Build()).AsInt64()
		removed = n > 0
		return err
	})
	return removed, err
}
