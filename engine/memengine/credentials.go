package memengine

import (
	"context"
	"slices"

	"github.com/watermarkchurch/toot-go/engine"
)

type proofKey struct{ realm, username string }

// Credential implements engine.Credentials.
func (e *Engine) Credential(ctx context.Context, realm, username string) ([]byte, error) {
	end, err := e.begin(ctx, engine.ValidateCredential(realm, username))
	if err != nil {
		return nil, err
	}
	defer end()
	return slices.Clone(e.s.proofs[proofKey{realm, username}]), nil
}

// Usernames implements engine.Credentials.
func (e *Engine) Usernames(ctx context.Context, realm string) ([]string, error) {
	end, err := e.begin(ctx, engine.ValidateRealm(realm))
	if err != nil {
		return nil, err
	}
	defer end()
	var names []string
	for key := range e.s.proofs {
		if key.realm == realm {
			names = append(names, key.username)
		}
	}
	slices.Sort(names)
	return names, nil
}

// PutCredential implements engine.Credentials.
func (e *Engine) PutCredential(ctx context.Context, realm, username string, proof []byte) error {
	end, err := e.begin(ctx, engine.ValidateProof(realm, username, proof))
	if err != nil {
		return err
	}
	defer end()
	e.s.proofs[proofKey{realm, username}] = slices.Clone(proof)
	return nil
}

// RemoveCredential implements engine.Credentials.
func (e *Engine) RemoveCredential(ctx context.Context, realm, username string) (bool, error) {
	end, err := e.begin(ctx, engine.ValidateCredential(realm, username))
	if err != nil {
		return false, err
	}
	defer end()
	key := proofKey{realm, username}
	_, there := e.s.proofs[key]
	delete(e.s.proofs, key)
	return there, nil
}
