package registry

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"time"

	"github.com/watermarkchurch/toot-go/signing"
)

// A subscriber hands its secret over when it registers. The first one that is
// handed over for a callback URL could be anybody's, so it counts only once the
// endpoint has answered for it; until then it is replaced by the next. One that
// counts is replaced only by a request that is signed with it. With the last of
// the registrations at which it was handed over, it goes.

// ErrOtherSecret is returned by OfferSecret to those who do not know the one
// that is kept.
var ErrOtherSecret = errors.New("this callback URL has another signing secret: sign the registration with that one, or have it set by the publisher")

// OfferSecret keeps the secret that came with a registration, whose request had
// this header and body, and reports whether it was new.
func (r *Registry) OfferSecret(ctx context.Context, channel, callbackURL, secret string, h http.Header, body []byte) (changed bool, err error) {
	changed, err = r.changeSecrets(ctx, callbackURL, func(stored []storedSecret) ([]storedSecret, error) {
		now := time.Now()
		keys, known := counting(stored, now), false
		for i := range stored {
			s := &stored[i]
			known = known || !s.ended(now) && subtle.ConstantTimeCompare([]byte(s.Secret), []byte(secret)) == 1
		}
		switch {
		case known:
			return stored, nil
		case len(keys) > 0 && signing.Verify(keys, h, body, now) != nil:
			return nil, ErrOtherSecret
		case len(keys) > 0:
			return rotate(stored, secret, now, signingOverlap), nil
		}
		first := storedSecret{Secret: secret, Unproven: true}
		if r.AskConsent != nil { // afresh: what it said earlier was not about this
			if err := r.AskConsent(ctx, channel, callbackURL); err != nil {
				return nil, err
			}
			first.Unproven = false
		}
		return []storedSecret{first}, nil
	})
	if err != nil {
		return false, err
	}
	return changed, r.noteHandedOver(ctx, channel, callbackURL, changed)
}

// counting are the keys of secrets that count.
func counting(stored []storedSecret, now time.Time) (keys []signing.Key) {
	for i := range stored {
		s := &stored[i]
		if key, err := signing.ParseSecret(s.Secret); err == nil && !s.ended(now) && !s.Unproven {
			keys = append(keys, key)
		}
	}
	return keys
}

// Prove makes a secret count: the endpoint took a request that was signed with
// its key, and is one that looks at signatures.
func (r *Registry) Prove(ctx context.Context, callbackURL string, key signing.Key) error {
	_, err := r.changeSecrets(ctx, callbackURL, func(stored []storedSecret) ([]storedSecret, error) {
		for i := range stored {
			if k, err := signing.ParseSecret(stored[i].Secret); err == nil && subtle.ConstantTimeCompare(k, key) == 1 {
				stored[i].Unproven = false
			}
		}
		return stored, nil
	})
	return err
}

// Removal is what CheckRemoval finds.
type Removal int

const (
	// NoSecret means that the callback URL has no secret that counts.
	NoSecret Removal = iota
	// SignedWell means that the request was signed with the secret.
	SignedWell
	// NotSigned means that the request was not signed with the secret that there is.
	NotSigned
)

// CheckRemoval reports whether a request to remove a registration is signed with
// the secret of its callback URL.
func (r *Registry) CheckRemoval(ctx context.Context, callbackURL string, h http.Header, query string) (Removal, error) {
	if r.attributes == nil || callbackURL == "" {
		return NoSecret, nil
	}
	stored, err := r.attributes.Attribute(ctx, signingGroup, callbackURL)
	if err != nil {
		return NoSecret, err
	}
	now := time.Now()
	keys := counting(decodeSecrets(stored.Value), now)
	switch {
	case len(keys) == 0:
		return NoSecret, nil
	case signing.Verify(keys, h, signing.RemovalContent(query), now) != nil:
		return NotSigned, nil
	}
	return SignedWell, nil
}

// noteHandedOver notes at which registration a secret was handed over. With a
// registration that ends, its note does, and the secret a little later.
func (r *Registry) noteHandedOver(ctx context.Context, channel, callbackURL string, changed bool) error {
	group := handedOverGroup + callbackURL
	all, err := r.attributes.Attributes(ctx, group)
	if err != nil {
		return err
	}
	noted := all[channel].Value
	if len(noted) > 0 && r.Lease == 0 {
		return nil
	}
	if len(noted) == 0 && len(all) == 0 && !changed {
		return nil // it was set by the operator, or before notes were made
	}
	if _, err = r.attributes.SwapAttribute(ctx, group, channel, noted, []byte("1"), r.beside()); err != nil || r.Lease == 0 {
		return err
	}
	kept, err := r.attributes.Attribute(ctx, signingGroup, callbackURL)
	if err == nil && len(kept.Value) > 0 {
		_, err = r.attributes.SwapAttribute(ctx, signingGroup, callbackURL, kept.Value, kept.Value, 2*r.beside())
	}
	return err
}

// forgetHandedOver makes a secret one that goes with no registration.
func (r *Registry) forgetHandedOver(ctx context.Context, callbackURL string) error {
	group := handedOverGroup + callbackURL
	all, err := r.attributes.Attributes(ctx, group)
	for channel := range all {
		if err == nil {
			err = r.change(ctx, group, channel, func([]byte) ([]byte, error) { return nil, nil })
		}
	}
	return err
}

// dropSecret deletes the secret of a callback URL if a registration that is over
// was the last at which it was handed over.
func (r *Registry) dropSecret(ctx context.Context, channel, callbackURL string) {
	if r.attributes == nil {
		return
	}
	group := handedOverGroup + callbackURL
	noted, err := r.attributes.Attribute(ctx, group, channel)
	if err == nil && len(noted.Value) == 0 {
		return
	}
	r.forget(ctx, group, callbackURL, channel)
	left, err := r.attributes.Attributes(ctx, group)
	if err != nil || len(left) > 0 {
		return
	}
	r.forget(ctx, signingGroup, callbackURL, callbackURL)
	r.noteChanged(ctx, callbackURL)
}
