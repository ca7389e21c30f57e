package redisengine

import (
	"context"
	"slices"

	"github.com/redis/rueidis"
)

// Credentials are a HASH whose key is the realm, in no namespace: where the
// Ruby original keeps them. Attributes are HASHes inside the namespace.

// Credential returns what is kept under a user name, as engine.Credentials
// says.
func (e *Engine) Credential(ctx context.Context, realm, username string) (proof []byte, err error) {
	if realm == "" || username == "" {
		return nil, invalid("a credential without realm or user name")
	}
	err = e.call(ctx, func(ctx context.Context) (err error) {
		proof, err = e.client.Do(ctx, e.client.B().Hget().Key(realm).Field(username).Build()).AsBytes()
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
	if realm == "" {
		return nil, invalid("credentials without realm")
	}
	err = e.call(ctx, func(ctx context.Context) (err error) {
		all, err := e.client.Do(ctx, e.client.B().Hgetall().Key(realm).Build()).AsStrMap()
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
	if realm == "" || username == "" || len(proof) == 0 {
		return invalid("a credential without realm, user name or proof")
	}
	return e.call(ctx, func(ctx context.Context) error {
		return e.client.Do(ctx, e.client.B().Hset().Key(realm).FieldValue().FieldValue(username, rueidis.BinaryString(proof)).Build()).Error()
	})
}

// RemoveCredential deletes a user name, as engine.Credentials says.
func (e *Engine) RemoveCredential(ctx context.Context, realm, username string) (removed bool, err error) {
	if realm == "" || username == "" {
		return false, invalid("a credential without realm or user name")
	}
	err = e.call(ctx, func(ctx context.Context) error {
		n, err := e.client.Do(ctx, e.client.B().Hdel().Key(realm).Field(username).Build()).AsInt64()
		removed = n > 0
		return err
	})
	return removed, err
}

func (e *Engine) attributesKey(group string) string {
	return "{" + e.namespace + "}:attributes:" + group
}

// Attributes returns the attributes of a group, as engine.Attributes says.
func (e *Engine) Attributes(ctx context.Context, group string) (map[string][]byte, error) {
	if group == "" {
		return nil, invalid("attributes without group")
	}
	var all map[string][]byte
	err := e.call(ctx, func(ctx context.Context) error {
		fields, err := e.client.Do(ctx, e.client.B().Hgetall().Key(e.attributesKey(group)).Build()).AsStrMap()
		all = make(map[string][]byte, len(fields))
		for name, value := range fields {
			all[name] = []byte(value)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// swapScript answers 1 in a repeated try also if the value is there already: the answer to a first
// try may have been lost.
var swapScript = rueidis.NewLuaScript(needsMemory + `
local was = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if was ~= ARGV[2] then
  return was == ARGV[3] and ARGV[4] == '1' and 1 or 0
end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
return 1`)

// SwapAttribute sets an attribute, as engine.Attributes says.
func (e *Engine) SwapAttribute(ctx context.Context, group, name string, old, value []byte) (bool, error) {
	if group == "" || name == "" {
		return false, invalid("an attribute without group or name")
	}
	var n int64
	again := "0"
	err := e.call(ctx, func(ctx context.Context) (err error) {
		n, err = swapScript.Exec(ctx, e.client, []string{e.attributesKey(group)},
			[]string{name, rueidis.BinaryString(old), rueidis.BinaryString(value), again}).AsInt64()
		again = "1"
		return err
	})
	return n > 0, err
}

// call is try for a call that is not one of a shard's.
func (e *Engine) call(ctx context.Context, f func(context.Context) error) error {
	if err := e.calls.enter(); err != nil {
		return err
	}
	defer e.calls.calls.Done()
	return e.try(ctx, f)
}
