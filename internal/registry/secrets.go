package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/watermarkchurch/toot-go/signing"
)

const (
	// signingGroup is the group of attributes in which the signing secrets of
	// callback URLs are kept, by URL.
	signingGroup = "signing"
	// handedOverGroup and a callback URL are the group of attributes that name
	// the channels at whose registration its secret was handed over.
	handedOverGroup = "signing:"
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
	// Unproven says that whoever registered has handed it over, and the endpoint
	// has not answered for it yet: anybody may hand over another.
	Unproven bool `json:"unproven,omitempty"`
}

func (s *storedSecret) ended(now time.Time) bool { return s.Until != 0 && s.Until <= now.Unix() }

// Keys are those with which requests to a callback URL are signed.
type Keys struct {
	Now []signing.Key
	// Unproven says that the endpoint has not shown yet that the secret is its
	// own, see Registry.Prove.
	Unproven bool
}

// secretKeys are the keys of one callback URL.
type secretKeys struct {
	keys     []signing.Key
	until    []int64
	unproven bool
}

// at returns those that are good now.
func (k *secretKeys) at(now time.Time) Keys {
	if k == nil {
		return Keys{}
	}
	if len(k.keys) == 1 {
		return Keys{k.keys, k.unproven}
	}
	var keys []signing.Key
	for i, key := range k.keys {
		if k.until[i] == 0 || k.until[i] > now.Unix() {
			keys = append(keys, key)
		}
	}
	return Keys{keys, k.unproven}
}

// secrets are the signing secrets that a publisher has to know. Where there
// are none, a delivery costs two atomic loads.
type secrets struct {
	state  atomic.Pointer[secretsState]
	update sync.Mutex
}

// secretsState is what was read of all secrets at a moment, and those that this
// process has changed since.
type secretsState struct {
	byURL   map[string]*secretKeys
	at      time.Time
	changed sync.Map // callback URL -> *secretKeys
}

func (s *secretsState) of(callbackURL string) *secretKeys {
	if k, ok := s.changed.Load(callbackURL); ok {
		return k.(*secretKeys)
	}
	return s.byURL[callbackURL]
}

// Keys returns the keys to sign with for a callback URL, if any.
func (r *Registry) Keys(ctx context.Context, callbackURL string, now time.Time) (Keys, error) {
	if r.attributes == nil {
		return Keys{}, nil
	}
	state := r.secrets.state.Load()
	if state == nil || now.Sub(state.at) > signingAge {
		var err error
		if state, err = r.refreshSecrets(ctx, now, state); err != nil {
			return Keys{}, err
		}
	}
	return state.of(callbackURL).at(now), nil
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
	if err != nil {
		if state == nil {
			return nil, err
		}
		state.changed.Range(func(url, keys any) bool {
			state.byURL[url.(string)] = keys.(*secretKeys)
			return true
		})
		state = &secretsState{byURL: state.byURL, at: now}
	} else {
		state = &secretsState{byURL: make(map[string]*secretKeys, len(all)), at: now}
		for url, value := range all {
			state.byURL[url] = decodeKeys(value.Value)
		}
	}
	s.state.Store(state)
	return state, nil
}

// noteChanged has the next delivery to a callback URL signed as is now said.
func (r *Registry) noteChanged(ctx context.Context, callbackURL string) {
	s := &r.secrets
	s.update.Lock()
	defer s.update.Unlock()
	state := s.state.Load()
	if state == nil {
		return
	}
	now, err := r.attributes.Attribute(ctx, signingGroup, callbackURL)
	if err != nil { // whoever delivers next looks
		s.state.Store(nil)
		return
	}
	state.changed.Store(callbackURL, decodeKeys(now.Value))
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
			k.unproven = k.unproven || s.Unproven
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
		if s.Secret != secret && s.Until > now.Unix() && len(secrets) < maxSecrets && !s.Unproven {
			secrets = append(secrets, s)
		}
	}
	return secrets
}

// SetSecret makes a secret the one of a callback URL; those before it are good
// for the overlap yet. An empty secret ends the signing.
func (r *Registry) SetSecret(ctx context.Context, callbackURL, secret string, overlap time.Duration) error {
	_, err := r.changeSecrets(ctx, callbackURL, func(stored []storedSecret) ([]storedSecret, error) {
		if secret == "" {
			return nil, nil
		}
		return rotate(stored, secret, time.Now(), overlap), nil
	})
	if err == nil { // what an operator has set stays when subscribers go
		err = r.forgetHandedOver(ctx, callbackURL)
	}
	return err
}

// changeSecrets replaces the secrets of a callback URL by what next makes of
// them, and reports whether they are others now.
func (r *Registry) changeSecrets(ctx context.Context, callbackURL string, next func([]storedSecret) ([]storedSecret, error)) (changed bool, err error) {
	if r.attributes == nil {
		return false, ErrUnsupported
	}
	err = r.change(ctx, signingGroup, callbackURL, func(old []byte) ([]byte, error) {
		changed = false
		secrets, err := next(decodeSecrets(old))
		if err != nil {
			return nil, err
		}
		var value []byte
		if len(secrets) > 0 {
			if value, err = json.Marshal(secrets); err != nil { //nolint:gosec // it is for the store
				return nil, err
			}
		}
		changed = string(value) != string(old)
		return value, nil
	})
	if changed {
		r.noteChanged(context.WithoutCancel(ctx), callbackURL)
	}
	if err != nil && !errors.Is(err, ErrOtherSecret) && !errors.Is(err, ErrNoConsent) {
		return false, fmt.Errorf("toot: signing secret: %w", err)
	}
	return changed && err == nil, err
}
