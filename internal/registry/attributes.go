package registry

import (
	"context"
	"errors"

	"github.com/watermarkchurch/toot-go/internal/wire"
)

// maxSwaps is how often a change is begun again because of another.
const maxSwaps = 100

var errContended = errors.New("others keep changing it")

// change replaces an attribute by what next makes of it, however many others
// do the same. It changes nothing if next returns what is there, or an error.
func (r *Registry) change(ctx context.Context, group, name string, next func(old []byte) ([]byte, error)) error {
	for range maxSwaps {
		old, err := r.attributes.Attribute(ctx, group, name)
		if err != nil {
			return err
		}
		value, err := next(old.Value)
		if err != nil || string(value) == string(old.Value) {
			return err
		}
		swapped, err := r.attributes.SwapAttribute(ctx, group, name, old.Value, value, old.Left)
		if swapped || err != nil {
			return err
		}
	}
	return errContended
}

// forget deletes an attribute about a callback URL that nobody needs any more.
func (r *Registry) forget(ctx context.Context, group, callbackURL, name string) {
	if name == "" { // of a member that is no URL, which has nothing beside it
		return
	}
	err := r.change(ctx, group, name, func([]byte) ([]byte, error) { return nil, nil })
	if err != nil {
		r.Log.Warn("toot: can't forget what was kept about a callback URL", "callback_url", wire.RedactURL(callbackURL), "error", err)
	}
}
