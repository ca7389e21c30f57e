package toot

import (
	"net/http"
	"net/url"

	"github.com/watermarkchurch/toot-go/internal/wire"
)

// serveConsent answers whether events on a channel are wanted here.
func (s *subscriber) serveConsent(w http.ResponseWriter, r *http.Request) {
	origin := r.Header.Get(wire.RequestOriginHeader)
	channel, err := url.QueryUnescape(r.Header.Get(wire.ChannelHeader))
	if origin == "" || len(origin) > wire.MaxOrigin || err != nil {
		wire.MethodNotAllowed(w, http.MethodPost)
		return
	}
	wanted := len(s.subscriptionsTo(channel)) > 0
	if channel == "" { // a sender that knows no channels
		wanted = len(s.subscriptionNames()) > 0
	}
	w.Header().Set("Allow", "POST, OPTIONS")
	if !wanted {
		wire.Problem(w, http.StatusForbidden, "Events on this channel are not wanted here.")
		return
	}
	w.Header()[wire.AllowedOriginHeader] = []string{origin}
	w.Header()[wire.AllowedRateHeader] = []string{"*"}
	w.WriteHeader(http.StatusOK)
}
