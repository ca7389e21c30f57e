package sqliteengine

import (
	"context"

	"github.com/watermarkchurch/toot-go/engine"
)

// Credential implements engine.Credentials.
func (e *Engine) Credential(ctx context.Context, realm, username string) ([]byte, error) {
	if err := engine.ValidateCredential(realm, username); err != nil {
		return nil, err
	}
	var proof []byte
	err := e.read(ctx, "credential", func(c *conn) error {
		q, ok, err := c.query("SELECT proof FROM credentials WHERE realm = ?1 AND username = ?2", realm, username)
		if err == nil && ok {
			proof = q.bytes(0)
			q.reset()
		}
		return err
	})
	return proof, err
}

// Usernames implements engine.Credentials.
func (e *Engine) Usernames(ctx context.Context, realm string) ([]string, error) {
	if err := engine.ValidateRealm(realm); err != nil {
		return nil, err
	}
	return e.names(ctx, "user names", "SELECT username FROM credentials WHERE realm = ?1 ORDER BY username", realm)
}

// PutCredential implements engine.Credentials.
func (e *Engine) PutCredential(ctx context.Context, realm, username string, proof []byte) error {
	if err := engine.ValidateProof(realm, username, proof); err != nil {
		return err
	}
	return e.do(ctx, "put credential", &op{run: func(w *writer) error {
		_, err := w.c.run("INSERT OR REPLACE INTO credentials (realm, username, proof) VALUES (?1, ?2, ?3)", realm, username, proof)
		return err
	}})
}

// RemoveCredential implements engine.Credentials.
func (e *Engine) RemoveCredential(ctx context.Context, realm, username string) (removed bool, err error) {
	if err := engine.ValidateCredential(realm, username); err != nil {
		return false, err
	}
	err = e.do(ctx, "remove credential", &op{run: func(w *writer) error {
		n, err := w.c.run("DELETE FROM credentials WHERE realm = ?1 AND username = ?2", realm, username)
		removed = n > 0
		return err
	}})
	return removed && err == nil, err
}
