package wire

// Registration is what a subscriber sends to a publisher's subscriptions.
type Registration struct {
	CallbackURL string `json:"callback_url"`
	Channel     string `json:"channel"`
	// SigningSecret is for signatures after Standard Webhooks.
	SigningSecret string `json:"signing_secret,omitempty"`
}
