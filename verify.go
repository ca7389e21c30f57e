package toot

import (
	"errors"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

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

// errUncheckable is why an event is not taken in that another process can check.
var errUncheckable = errors.New("events on this channel must be signed, and this process does not have the secrets to check that; other processes of the app have them")

// allows says why an event of the request may not be taken in for its takers,
// if so.
func (s *signed) allows(t *takers) error {
	if t.unverifiable {
		return errUncheckable
	}
	for _, sub := range t.own {
		if err := s.check(sub.verifier); err != nil {
			return err
		}
	}
	for _, verifier := range t.verifiers {
		if err := s.check(verifier); err != nil {
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

// check holds the request against the secrets of a source, which may have none.
// It does so once for each, or the request would meet itself.
func (s *signed) check(by *signing.Verifier) error {
	if by == nil {
		return nil
	}
	i := slices.IndexFunc(s.checked, func(c checked) bool { return c.by == by })
	if i < 0 {
		receipt, err := by.Check(s.header, s.body)
		i, s.checked = len(s.checked), append(s.checked, checked{by, receipt, err})
	}
	return s.checked[i].err
}

// failed lets the request come again.
func (s *signed) failed() {
	for _, c := range s.checked {
		if c.err == nil {
			c.by.Forget(c.receipt)
		}
	}
}

// rarely says yes once a minute at the most.
type rarely struct{ next atomic.Int64 }

func (r *rarely) now() bool {
	now, next := time.Now(), r.next.Load()
	return now.UnixNano() >= next && r.next.CompareAndSwap(next, now.Add(time.Minute).UnixNano())
}
