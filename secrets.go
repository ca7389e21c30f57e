package toot

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

	"github.com/watermarkchurch/toot-go/engine"
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
	// maxSwaps is how often a change is begun again because of another.
	maxSwaps = 100
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
	keys  [][]byte
	until []int64
}

// at returns those that are good now.
func (k *secretKeys) at(now time.Time) [][]byte {
	if k == nil {
		return nil
	}
	if len(k.keys) == 1 {
		return k.keys
	}
	var keys [][]byte
	for i, key := range k.keys {
		if k.until[i] == 0 || k.until[i] > now.Unix() {
			keys = append(keys, key)
		}
	}
	return keys
}

// signers are the signing secrets that a publisher has to know. Where there
// are none, a delivery costs one atomic load.
type signers struct {
	store  engine.Attributes // nil if the engine keeps none
	state  atomic.Pointer[signersState]
	update sync.Mutex
}

type signersState struct {
	byURL map[string]*secretKeys
	at    time.Time
}

// keys returns the keys to sign with for a callback URL, if any.
func (s *signers) keys(ctx context.Context, callbackURL string, now time.Time) ([][]byte, error) {
	if s.store == nil {
		return nil, nil
	}
	state := s.state.Load()
	if state == nil || now.Sub(state.at) > signingAge {
		var err error
		if state, err = s.refresh(ctx, now, state); err != nil {
			return nil, err
		}
	}
	return state.byURL[callbackURL].at(now), nil
}

// refresh reads the secrets. One caller does it; others wait only if there is
// nothing yet. What is known stays good while the store can't be read.
func (s *signers) refresh(ctx context.Context, now time.Time, known *signersState) (*signersState, error) {
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
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	all, err := s.store.Attributes(ctx, signingGroup)
	switch {
	case err != nil && state == nil:
		return nil, err
	case err != nil:
		state = &signersState{state.byURL, now}
	default:
		state = &signersState{make(map[string]*secretKeys, len(all)), now}
		for url, value := range all {
			state.byURL[url] = decodeKeys(value.Value)
		}
	}
	s.state.Store(state)
	return state, nil
}

// changed makes the next delivery look again.
func (s *signers) changed() {
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
		if key, err := parseSecret(s.Secret); err == nil {
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

// SetSigningSecret makes requests to a callback URL carry signatures after
// Standard Webhooks, under this secret and, for the overlap, under the one
// before too, so that the other side can change it in its own time. An empty
// secret ends the signing. Subscribers may hand over a secret themselves, see
// Source.SigningSecrets.
//
// Other processes sign accordingly within seconds.
func (a *App) SetSigningSecret(ctx context.Context, callbackURL, secret string, overlap time.Duration) error {
	if err := a.enter(); err != nil {
		return err
	}
	defer a.closing.Done()
	if err := checkCallbackURL(callbackURL); err != nil {
		return fmt.Errorf("toot: callback URL: %w", err)
	}
	if secret != "" {
		if _, err := parseSecret(secret); err != nil {
			return err
		}
	}
	return a.changeSecrets(ctx, callbackURL, func(stored []storedSecret) ([]storedSecret, error) {
		if secret == "" {
			return nil, nil
		}
		return rotate(stored, secret, time.Now(), overlap), nil
	})
}

// changeSecrets replaces the secrets of a callback URL by what change makes of
// them.
func (a *App) changeSecrets(ctx context.Context, callbackURL string, change func([]storedSecret) ([]storedSecret, error)) error {
	store := a.signers.store
	if store == nil {
		return fmt.Errorf("%w: it keeps no signing secrets", ErrUnsupported)
	}
	defer a.signers.changed()
	for range maxSwaps {
		all, err := store.Attributes(ctx, signingGroup)
		if err != nil {
			return fmt.Errorf("toot: signing secret: %w", err)
		}
		old := all[callbackURL].Value
		secrets, err := change(decodeSecrets(old))
		if err != nil {
			return err
		}
		var value []byte
		if len(secrets) > 0 {
			if value, err = json.Marshal(secrets); err != nil { //nolint:gosec // it is for the store
				return err
			}
		}
		if string(value) == string(old) {
			return nil
		}
		swapped, err := store.SwapAttribute(ctx, signingGroup, callbackURL, old, value, 0)
		if err != nil {
			return fmt.Errorf("toot: signing secret: %w", err)
		}
		if swapped {
			return nil
		}
	}
	return errors.New("toot: signing secret: others keep changing it")
}

var errOtherSecret = errors.New("this callback URL has another signing secret: sign the registration with that one, or have it set by the publisher")

// takeSecret keeps the secret that came with a registration. Where there is
// another, the request has to be signed with that: whoever may register is not
// thereby allowed to take over somebody else's callback URL.
func (a *App) takeSecret(r *http.Request, body []byte, reg registration) error {
	now := time.Now()
	return a.changeSecrets(r.Context(), reg.CallbackURL, func(stored []storedSecret) ([]storedSecret, error) {
		var keys [][]byte
		for _, s := range stored {
			if s.Until != 0 && s.Until <= now.Unix() {
				continue
			}
			if subtle.ConstantTimeCompare([]byte(s.Secret), []byte(reg.SigningSecret)) == 1 {
				return stored, nil
			}
			if key, err := parseSecret(s.Secret); err == nil {
				keys = append(keys, key)
			}
		}
		if len(keys) > 0 {
			if _, err := verifySignature(keys, r.Header, body, now); err != nil {
				return nil, errOtherSecret
			}
		}
		return rotate(stored, reg.SigningSecret, now, signingOverlap), nil
	})
}
