package storecopy

import (
	"context"

	"github.com/watermarkchurch/toot-go/engine/anyengine"
)

// Look tells what Copy would find in a store, which it does not change. What of it
// the second store has already is not looked at.
func Look(ctx context.Context, from anyengine.Store, opts Options) (Counts, error) {
	m := &mover{from: from, opts: opts}
	err := m.look(ctx)
	return m.counts, err
}

func (m *mover) look(ctx context.Context) error {
	groups, err := m.groups(ctx)
	if err != nil {
		return err
	}
	for _, group := range groups {
		all, err := m.from.Attributes(ctx, group)
		if err != nil {
			return err
		}
		m.counts.Attributes.New += len(all)
	}
	realms, err := m.realms(ctx)
	if err != nil {
		return err
	}
	for _, realm := range realms {
		users, err := m.from.Usernames(ctx, realm)
		if err != nil {
			return err
		}
		m.counts.Users.New += len(users)
	}
	channels, err := m.from.Channels(ctx, m.opts.Prefix)
	if err != nil {
		return err
	}
	for _, urls := range channels {
		m.counts.Subscribers.New += len(urls)
	}
	if m.opts.WithoutJobs {
		return nil
	}
	lanes, err := m.from.Lanes(ctx)
	if err != nil {
		return err
	}
	for i := range lanes {
		l := &lanes[i]
		m.counts.Due.add(l.Lane.Kind, l.Waiting-l.Later)
		m.counts.Later.add(l.Lane.Kind, l.Later)
		m.counts.Dead.add(l.Lane.Kind, l.Dead)
		m.counts.Held += l.Leased
	}
	return nil
}
