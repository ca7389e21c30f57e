package pgengine

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/watermarkchurch/toot-go/engine"
)

// Credential implements engine.Credentials.
func (e *Engine) Credential(ctx context.Context, realm, username string) (proof []byte, err error) {
	if err := engine.ValidateCredential(realm, username); err != nil {
		return nil, err
	}
	err = e.try(ctx, "credential", again, func(ctx context.Context) error {
		proof = nil
		err := e.pool.QueryRow(ctx, e.sql("SELECT proof FROM toot.credentials WHERE realm = $1 AND username = $2"), e.mode, []byte(realm), []byte(username)).Scan(&proof)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
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
	return e.names(ctx, "user names", again, "SELECT username FROM toot.credentials WHERE realm = $1 ORDER BY username", []byte(realm))
}

// PutCredential implements engine.Credentials.
func (e *Engine) PutCredential(ctx context.Context, realm, username string, proof []byte) error {
	if err := engine.ValidateProof(realm, username, proof); err != nil {
		return err
	}
	return e.try(ctx, "put credential", again, func(ctx context.Context) error {
		_, err := e.pool.Exec(ctx, e.sql(`INSERT INTO toot.credentials (realm, username, proof) VALUES ($1, $2, $3)
			ON CONFLICT (realm, username) DO UPDATE SET proof = $3`), e.mode, []byte(realm), []byte(username), proof)
		return err
	})
}

// RemoveCredential implements engine.Credentials.
func (e *Engine) RemoveCredential(ctx context.Context, realm, username string) (removed bool, err error) {
	if err := engine.ValidateCredential(realm, username); err != nil {
		return false, err
	}
	err = e.try(ctx, "remove credential", again, func(ctx context.Context) error {
		tag, err := e.pool.Exec(ctx, e.sql("DELETE FROM toot.credentials WHERE realm = $1 AND username = $2"), e.mode, []byte(realm), []byte(username))
		removed = tag.RowsAffected() > 0
		return err
	})
	return removed && err == nil, err
}
