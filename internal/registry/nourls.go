package registry

import (
	"slices"
	"sync"

	"github.com/watermarkchurch/toot-go/internal/wire"
)

// The set of a channel's subscribers may be shared with other programs, of which
// some take any text for a callback URL: the Ruby gem does, an empty one
// included. Nothing can be sent to such members, and no store takes a lane
// without a name. So they are left out wherever the subscribers are read, and
// stay in the set until somebody removes them.

// leaveOut returns the callback URLs without those that are in none, which are
// no URLs.
func (r *Registry) leaveOut(channel string, urls, none []string) []string {
	if len(none) == 0 {
		return urls
	}
	if r.noURLs.isNew(channel) {
		r.Log.Warn("toot: a channel has subscribers whose callback URL is not a URL; nothing is sent to them. List them with toot subscriptions, and remove them with toot unsubscribe --callback-url",
			"channel", channel, "subscribers", len(none))
	}
	return slices.DeleteFunc(slices.Clone(urls), func(u string) bool { return slices.Contains(none, u) })
}

// thatAreNone returns those of callback URLs that are no URLs.
func thatAreNone(urls []string) (none []string) {
	for _, u := range urls {
		if wire.CheckHTTPURL(wire.RequestURL(u)) != nil {
			none = append(none, u)
		}
	}
	return none
}

// maxNoted is how many channels are noted, so that each is warned of once.
const maxNoted = 10_000

// notedChannels are those of which it was said that they have such members.
type notedChannels struct {
	mu   sync.Mutex
	said map[string]bool
}

// isNew notes a channel and reports whether it was not noted before.
func (n *notedChannels) isNew(channel string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.said[channel] {
		return false
	}
	if n.said == nil || len(n.said) >= maxNoted {
		n.said = map[string]bool{}
	}
	n.said[channel] = true
	return true
}
