package registry

import (
	"context"
	"strings"
	"time"

	"github.com/watermarkchurch/toot-go/internal/wire"
)

// ownersGroup is the group of attributes that say which user has registered a
// callback URL on a channel.
const ownersGroup = "owners"

// Registration is a callback URL on a channel.
type Registration struct{ Channel, CallbackURL string }

// name is that of a registration's attribute. A channel has no line break in it.
func (r Registration) name() string { return r.Channel + "\n" + r.CallbackURL }

// beside is how long what belongs to a registration is kept: longer than the
// registration if that has an end.
func (r *Registry) beside() time.Duration { return 2 * r.Lease }

// own notes whose a registration is: if it is new, that of whoever made it;
// otherwise that of whoever has it already.
func (r *Registry) own(ctx context.Context, channel, callbackURL, owner string, isNew bool) {
	if r.attributes == nil || !isNew && (owner == "" || r.Lease == 0) {
		return
	}
	name := Registration{channel, callbackURL}.name()
	had, err := r.attributes.Attribute(ctx, ownersGroup, name)
	switch {
	case err != nil:
	case isNew && string(had.Value) != owner, len(had.Value) > 0 && string(had.Value) == owner:
		_, err = r.attributes.SwapAttribute(ctx, ownersGroup, name, had.Value, []byte(owner), r.beside())
	}
	if err != nil {
		r.Log.Warn("toot: can't note who has registered a callback URL", "channel", channel, "callback_url", wire.RedactURL(callbackURL), "error", err)
	}
}

func (r *Registry) disown(ctx context.Context, channel, callbackURL string) {
	if r.attributes != nil {
		r.forget(ctx, ownersGroup, callbackURL, Registration{channel, callbackURL}.name())
	}
}

// Owner returns which user has registered a callback URL on a channel; nobody if
// that is not known.
func (r *Registry) Owner(ctx context.Context, channel, callbackURL string) (string, error) {
	if r.attributes == nil {
		return "", nil
	}
	owner, err := r.attributes.Attribute(ctx, ownersGroup, Registration{channel, callbackURL}.name())
	return string(owner.Value), err
}

// Owners returns who has made the registrations of which that is known.
func (r *Registry) Owners(ctx context.Context) (map[Registration]string, error) {
	if r.attributes == nil {
		return nil, nil
	}
	all, err := r.attributes.Attributes(ctx, ownersGroup)
	if err != nil {
		return nil, err
	}
	owners := make(map[Registration]string, len(all))
	for name, a := range all {
		channel, url, _ := strings.Cut(name, "\n")
		owners[Registration{channel, url}] = string(a.Value)
	}
	return owners, nil
}
