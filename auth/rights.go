package auth

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/watermarkchurch/toot-go/engine"
)

// Rights are what a user may do besides getting in. The zero value is that of
// users to whom no rights were granted: they remove only what they registered
// themselves, on any channel.
type Rights struct {
	// Operator says that the user may see and remove what others registered.
	Operator bool `json:"operator,omitempty"`
	// Prefixes are the prefixes of the channels (full names) that the user may
	// subscribe to and publish on; none means all.
	Prefixes []string `json:"prefixes,omitempty"`
}

func (r Rights) none() bool { return !r.Operator && len(r.Prefixes) == 0 }

// rightsGroup is the group of attributes in which the rights of a realm's users
// are kept, beside their passwords, which the Ruby original knows.
func (c *Credentials) rightsGroup() string { return "rights:" + c.realm }

// Grant replaces the rights of a user.
func (c *Credentials) Grant(ctx context.Context, username string, rights Rights) error {
	for _, p := range rights.Prefixes {
		if p == "" {
			return fmt.Errorf("%w: an empty prefix of channels", ErrInvalid)
		}
	}
	attributes, ok := c.store.(engine.Attributes)
	if !ok {
		if rights.none() {
			return nil
		}
		return fmt.Errorf("auth: grant %q: the engine (%T) keeps no rights", username, c.store)
	}
	defer c.verified.expire()
	var value []byte
	if !rights.none() {
		var err error
		if value, err = json.Marshal(rights); err != nil {
			return err
		}
	}
	for {
		old, err := attributes.Attribute(ctx, c.rightsGroup(), username)
		if err == nil && string(old.Value) == string(value) {
			return nil
		}
		swapped := false
		if err == nil {
			swapped, err = attributes.SwapAttribute(ctx, c.rightsGroup(), username, old.Value, value, 0)
		}
		if err != nil {
			return fmt.Errorf("auth: grant %q: %w", username, err)
		}
		if swapped {
			c.note(ctx, "auth: a user has other rights", username)
			return nil
		}
	}
}

// Rights returns what a user may do.
func (c *Credentials) Rights(ctx context.Context, username string) (rights Rights, err error) {
	attributes, ok := c.store.(engine.Attributes)
	if !ok {
		return Rights{}, nil
	}
	kept, err := attributes.Attribute(ctx, c.rightsGroup(), username)
	if err == nil && len(kept.Value) > 0 {
		err = json.Unmarshal(kept.Value, &rights)
	}
	if err != nil {
		return Rights{}, fmt.Errorf("auth: rights of %q: %w", username, err)
	}
	return rights, nil
}
