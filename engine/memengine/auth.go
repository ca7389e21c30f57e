package memengine

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/watermarkchurch/toot-go/engine"
)

// named refuses what has no name.
func named(names ...string) error {
	if slices.Contains(names, "") {
		return fmt.Errorf("memengine: an empty name: %w", engine.ErrInvalid)
	}
	return nil
}

// Credential implements engine.Credentials.
func (e *Engine) Credential(ctx context.Context, realm, username string) ([]byte, error) {
	end, err := e.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	return slices.Clone(e.s.proofs[[2]string{realm, username}]), named(realm, username)
}

// Usernames implements engine.Credentials.
func (e *Engine) Usernames(ctx context.Context, realm string) ([]string, error) {
	end, err := e.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	var names []string
	for key := range e.s.proofs {
		if key[0] == realm {
			names = append(names, key[1])
		}
	}
	slices.Sort(names)
	return names, named(realm)
}

// PutCredential implements engine.Credentials.
func (e *Engine) PutCredential(ctx context.Context, realm, username string, proof []byte) error {
	end, err := e.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := named(realm, username, string(proof)); err != nil {
		return err
	}
	e.s.proofs[[2]string{realm, username}] = slices.Clone(proof)
	return nil
}

// RemoveCredential implements engine.Credentials.
func (e *Engine) RemoveCredential(ctx context.Context, realm, username string) (bool, error) {
	end, err := e.begin(ctx)
	if err != nil {
		return false, err
	}
	defer end()
	key := [2]string{realm, username}
	_, there := e.s.proofs[key]
	delete(e.s.proofs, key)
	return there, named(realm, username)
}

// Attributes implements engine.Attributes.
func (e *Engine) Attributes(ctx context.Context, group string) (map[string][]byte, error) {
	end, err := e.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	if err := named(group); err != nil {
		return nil, err
	}
	all := map[string][]byte{}
	for key, value := range e.s.attrs {
		if key[0] == group {
			all[key[1]] = slices.Clone(value)
		}
	}
	return all, nil
}

// SwapAttribute implements engine.Attributes.
func (e *Engine) SwapAttribute(ctx context.Context, group, name string, old, value []byte) (bool, error) {
	end, err := e.begin(ctx)
	if err != nil {
		return false, err
	}
	defer end()
	if err := named(group, name); err != nil {
		return false, err
	}
	key := [2]string{group, name}
	if !bytes.Equal(e.s.attrs[key], old) {
		return false, nil
	}
	delete(e.s.attrs, key)
	if len(value) > 0 {
		e.s.attrs[key] = slices.Clone(value)
	}
	return true, nil
}
