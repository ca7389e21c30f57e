package toot

import (
	"net/http"
	"slices"

	"github.com/watermarkchurch/toot-go/internal/wire"
	"github.com/watermarkchurch/toot-go/signing"
)

// signed checks the signatures of one request, for the sources that its events
// are of, each of which has secrets of its own: knowing those of one is not
// enough to send events of another.
type signed struct {
	header  http.Header
	body    []byte
	checked []checked
}

type checked struct {
	by      *signing.Verifier
	receipt signing.Receipt
	err     error
}

// allows says why an event of the request may not go to subscriptions, if so.
func (s *signed) allows(subscriptions []*Subscription) error {
	for _, sub := range subscriptions {
		if sub.verifier == nil {
			continue
		}
		// A request is checked once, or it would meet itself.
		i := slices.IndexFunc(s.checked, func(c checked) bool { return c.by == sub.verifier })
		if i < 0 {
			receipt, err := sub.verifier.Check(s.header, s.body)
			i, s.checked = len(s.checked), append(s.checked, checked{sub.verifier, receipt, err})
		}
		if err := s.checked[i].err; err != nil {
			return err
		}
	}
	return nil
}

// newID returns an ID for an event of the request that has none of its own. If
// the request is signed, it is made of the ID that is signed, and a suffix: a
// request that is sent again, to another process, has no new events in it.
func (s *signed) newID(suffix string) string {
	if slices.ContainsFunc(s.checked, func(c checked) bool { return c.err == nil }) {
		return s.header.Get("webhook-id") + suffix
	}
	return wire.NewEventID()
}

// failed lets the request come again.
func (s *signed) failed() {
	for _, c := range s.checked {
		if c.err == nil {
			c.by.Forget(c.receipt)
		}
	}
}
