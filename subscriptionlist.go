package toot

import (
	"context"
	"encoding/json"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/watermarkchurch/toot-go/internal/registry"
	"github.com/watermarkchurch/toot-go/internal/wire"
)

// listSubscribers answers with the channels of this app and who is subscribed to
// them.
func (p *publisher) listSubscribers(w http.ResponseWriter, r *http.Request) {
	if !acceptsJSON(r.Header.Values("Accept")) {
		wire.Problem(w, http.StatusNotAcceptable, "There is only application/json here.")
		return
	}
	user := UserOf(r.Context())
	var owners map[registry.Registration]string
	channels, err := p.registered(r.Context())
	if err == nil && user != nil && user.Name != "" && !user.Operator {
		owners, err = p.registry.Owners(r.Context())
	}
	if err != nil {
		p.log.Error("toot: can't list subscribers", "error", err)
		unavailable(w)
		return
	}
	for channel, urls := range channels {
		if user != nil && !user.May(channel) {
			delete(channels, channel)
			continue
		}
		shown := slices.Clone(urls)
		for i, u := range shown {
			switch {
			case user == nil:
				shown[i] = wire.WithoutSecrets(u)
			case user.Operator, owners[registry.Registration{Channel: channel, CallbackURL: u}] == user.Name && user.Name != "":
			default:
				shown[i] = wire.RedactURL(u)
			}
		}
		channels[channel] = shown
	}
	list := struct {
		Channels      []string            `json:"channels"`
		Subscriptions map[string][]string `json:"subscriptions"`
	}{slices.AppendSeq(make([]string, 0, len(channels)), maps.Keys(channels)), channels}
	slices.Sort(list.Channels)
	w.Header()["Content-Type"] = wire.JSONContentType
	_ = json.NewEncoder(w).Encode(list)
}

// registered returns the channels on which this app takes registrations and that
// have some, each with its callback URLs.
func (p *publisher) registered(ctx context.Context) (map[string][]string, error) {
	channels := map[string][]string{}
	for _, prefix := range p.prefixes() {
		found, err := p.registry.List(ctx, prefix)
		if err != nil {
			return nil, err
		}
		maps.Copy(channels, found)
	}
	return channels, nil
}

// acceptsJSON reports whether an Accept header, which may be missing, lets us
// answer with JSON.
func acceptsJSON(values []string) bool {
	if len(values) == 0 {
		return true
	}
	for _, part := range strings.Split(strings.Join(values, ","), ",") {
		mediaType, params, err := mime.ParseMediaType(part)
		if err != nil || strings.Trim(params["q"], "0.") == "" && params["q"] != "" {
			continue
		}
		switch mediaType {
		case "application/json", "application/*", "*/*":
			return true
		}
	}
	return false
}
