package wire

import (
	"encoding/json"
	"fmt"
)

// Registration is what a subscriber sends to a publisher's subscriptions.
type Registration struct {
	CallbackURL string `json:"callback_url"`
	Channel     string `json:"channel"`
	// SigningSecret is for signatures after Standard Webhooks.
	SigningSecret string `json:"signing_secret,omitempty"`
}

// ParseRegistration reads a registration. The names of its members are exact, as
// they are to the original; encoding/json would take them in any case. A member
// that is missing or null is empty.
func ParseRegistration(body []byte) (r Registration, err error) {
	if !json.Valid(body) {
		return r, ErrNotJSON
	}
	if err := CheckText(body); err != nil {
		return r, err
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(body, &members) != nil || members == nil {
		return r, ErrNotObject
	}
	for name, to := range map[string]*string{"callback_url": &r.CallbackURL, "channel": &r.Channel, "signing_secret": &r.SigningSecret} {
		value := members[name]
		if len(value) > 0 && value[0] != '"' && string(value) != "null" {
			return r, fmt.Errorf("its %q is not a text", name)
		}
		*to = text(value)
	}
	return r, nil
}
