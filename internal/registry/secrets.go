package registry

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/watermarkchurch/toot-go/signing"
)

const (
	// signingGroup is the group of attributes in which the signing secrets of
	// callback URLs are kept, by URL.
	signingGroup = "signing"
	// signingAge is how old what a process knows of them may become.
	signingAge = 3 * time.Second
	// signingOverlap is for how long requests carry signatures under a secret
	// and the one before it, when the subscriber has changed it.
	signingOverlap = 24 * time.Hour
	// maxSecrets is how many secrets a callback URL may have at a time.
	maxSecrets = 4
)

// storedSecret is a signing secret as it is kept.
type storedSecret struct {
	Secret string `json:"secret"`
	// Until is when it ends, in seconds since 1970 by the clock of whoever
	// replaced it; 0 for the current one.
	Until int64 `json:"until,omitempty"`
}

// secretKeys are the keys of one callback URL.
type secretKeys struct {
	keys  []signing.Key
	until []int64
}

// at returns those that are good now.
func (k *secretKeys) at(now time.Time) []signing.Key {
	if k == nil {
		return nil
	}
	if len(k.keys) == 1 {
		return k.keys
	}
	var keys []signing.Key
	for i, key := range k.keys {
		if k.until[i] == 0 || k.until[i] > now.Unix() {
			keys = append(keys, key)
		}
	}
	return keys
}

// secrets are the signing secrets that a publisher has to know. Where there
// are none, a delivery costs one atomic load.
type secrets struct {
	state  atomic.Pointer[secretsState]
	update sync.Mutex
}

type secretsState struct {
	byURL map[string]*secretKeys
	at    time.Time
}

// Keys returns the keys to sign with for a callback URL, if any.
func (r *Registry) Keys(ctx context.Context, callbackURL string, now time.Time) ([]signing.Key, error) {
	if r.attributes == nil {
		return nil, nil
	}
	state := r.secrets.state.Load()
	if state == nil || now.Sub(state.at) > signingAge {
		var err error
		if state, err = r.refreshSecrets(ctx, now, state); err != nil {
			return nil, err
		}
	}
	return state.byURL[callbackURL].at(now), nil
}

// refreshSecrets reads the secrets. One caller does it; others wait only if there is
// nothing yet. What is known stays good while the store can't be read.
func (r *Registry) refreshSecrets(ctx context.Context, now time.Time, known *secretsState) (*secretsState, error) {
	s := &r.secrets
	if known == nil {
		s.update.Lock()
	} else if !s.update.TryLock() {
		return known, nil
	}
	defer s.update.Unlock()
	state := s.state.Load()
	if state != nil && now.Sub(state.at) <= signingAge {
		return state, nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	all, err := r.attributes.Attributes(ctx, signingGroup)
	switch {
	case err != nil && state == nil:
		return nil, err
	case err != nil:
		state = &secretsState{state.byURL, now}
	default:
		state = &secretsState{make(map[string]*secretKeys, len(all)), now}
		for url, value := range all {
			state.byURL[url] = decodeKeys(value.Value)
		}
	}
	s.state.Store(state)
	return state, nil
}

// changed makes the next delivery look again.
func (s *secrets) changed() {
	s.update.Lock()
	defer s.update.Unlock()
	s.state.Store(nil)
}

func decodeSecrets(value []byte) (secrets []storedSecret) {
	_ = json.Unmarshal(value, &secrets) // only we write there
	return secrets
}

func decodeKeys(value []byte) *secretKeys {
	k := &secretKeys{}
	for _, s := range decodeSecrets(value) {
		if key, err := signing.ParseSecret(s.Secret); err == nil {
			k.keys, k.until = append(k.keys, key), append(k.until, s.Until)
		}
	}
	return k
}

// rotate puts a secret before those that are there, which end with the
// overlap.
func rotate(stored []storedSecret, secret string, now time.Time, overlap time.Duration) []storedSecret {
	secrets := []storedSecret{{Secret: secret}}
	for _, s := range stored {
		if until := now.Add(overlap).Unix(); s.Until == 0 || s.Until > until {
			s.Until = until
		}
		if s.Secret != secret && s.Until > now.Unix() && len(secrets) < maxSecrets {
			secrets = append(secrets, s)
		}
	}
	return secrets
}

// SetSecret makes a secret the one of a callback URL; those before it are good
// for the overlap yet. An empty secret ends the signing.
func (r *Registry) SetSecret(ctx context.Context, callbackURL, secret string, overlap time.Duration) error {
	return r.changeSecrets(ctx, callbackURL, func(stored []storedSecret) ([]storedSecret, error) {
		if secret == "" {
			return nil, nil
		}
		return rotate(stored, secret, time.Now(), overlap), nil
	})
}

// changeSecrets replaces the secrets of a callback URL by what next makes of
// them.
func (r *Registry) changeSecrets(ctx context.Context, callbackURL string, next func([]storedSecret) ([]storedSecret, error)) error {
	if r.attributes == nil {
		return ErrUnsupported
	}
	defer r.secrets.changed()
	err := r.change(ctx, signingGroup, callbackURL, func(old []byte) ([]byte, error) {
		secrets, err := next(decodeSecrets(old))
		if err != nil || len(secrets) == 0 {
			return nil, err
		}
		return json.Marshal(secrets) //nolint:gosec // it is for the store
	})
	if err != nil && !errors.Is(err, ErrOtherSecret) {
		return fmt.Errorf("toot: signing secret: %w", err)
	}
	return err
}

// ErrOtherSecret is returned by OfferSecret to those who do not know the one
// that is kept.
var ErrOtherSecret = errors.New("this callback URL has another signing secret: sign the registration with that one, or have it set by the publisher")

// OfferSecret keeps the secret that came with a registration. Where there is
// another, the request has to be signed with that: whoever may register is not
// thereby allowed to take over somebody else's callback URL.
func (r *Registry) OfferSecret(ctx context.Context, callbackURL, secret string, h http.Header, body []byte) error {
	now := time.Now()
	return r.changeSecrets(ctx, callbackURL, func(stored []storedSecret) ([]storedSecret, error) {
		var keys []signing.Key
		for _, s := range stored {
			if s.Until != 0 && s.Until <= now.Unix() {
				continue
			}
			if subtle.ConstantTimeCompare([]byte(s.Secret), []byte(secret)) == 1 {
				return stored, nil
			}
			if key, err := signing.ParseSecret(s.Secret); err == nil {
				keys = append(keys, key)
			}
		}
		if len(keys) > 0 {
			if signing.Verify(keys, h, body, now) != nil {
				return nil, ErrOtherSecret
			}
		}
		return rotate(stored, secret, now, signingOverlap), nil
	})
}
