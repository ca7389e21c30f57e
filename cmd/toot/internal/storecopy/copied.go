package storecopy

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// groups are the groups of attributes that are copied.
func (m *mover) groups(ctx context.Context) ([]string, error) {
	groups, err := m.from.AttributeGroups(ctx)
	return slices.DeleteFunc(groups, func(g string) bool { return g == notesGroup }), err
}

func (m *mover) copyAttributes(ctx context.Context) error {
	groups, err := m.groups(ctx)
	if err != nil {
		return err
	}
	for _, group := range groups {
		theirs, err := m.from.Attributes(ctx, group)
		if err != nil {
			return err
		}
		ours, err := m.to.Attributes(ctx, group)
		if err != nil {
			return err
		}
		for name, a := range theirs {
			if err := m.copyAttribute(ctx, group, name, a, ours[name]); err != nil {
				return named(err, "an attribute of the group %q", public(group))
			}
		}
		m.progress()
	}
	return nil
}

// public is the name of a group without what may follow a colon in it, such as a
// callback URL.
func public(group string) string {
	group, _, _ = strings.Cut(group, ":")
	return group
}

func (m *mover) copyAttribute(ctx context.Context, group, name string, from, to engine.Attribute) error {
	note := thing("attribute", group, name)
	chosen := choose(from.Value, to.Value, string(m.notes[note].Value))
	if chosen == leave || chosen == settle && !longer(from.Left, to.Left) {
		m.counts.Attributes.Known++
		if chosen == leave {
			return nil
		}
		return m.note(ctx, note, digest(from.Value))
	}
	swapped, err := m.to.SwapAttribute(ctx, group, name, to.Value, from.Value, from.Left)
	switch {
	case err != nil:
		return err
	case !swapped: // somebody was quicker, whose value counts
		m.counts.Attributes.Known++
		return nil
	case chosen == settle:
		m.counts.Attributes.Known++
	default:
		m.counts.Attributes.New++
	}
	return m.note(ctx, note, digest(from.Value))
}

// longer reports whether what has an end in one store, or has none, lasts longer than
// in the other.
func longer(from, to time.Duration) bool {
	const slack = time.Second // clocks and calls
	return to > 0 && (from == 0 || from > to+slack)
}

// realms are the realms that are copied.
func (m *mover) realms(ctx context.Context) ([]string, error) {
	realms := slices.Clone(m.opts.Realms)
	if !m.opts.NamedRealms {
		found, err := m.from.Realms(ctx, m.opts.Prefix)
		if err != nil {
			return nil, err
		}
		realms = append(realms, found...)
	}
	slices.Sort(realms)
	return slices.Compact(realms), nil
}

func (m *mover) copyUsers(ctx context.Context) error {
	realms, err := m.realms(ctx)
	if err != nil {
		return err
	}
	for _, realm := range realms {
		names, err := m.from.Usernames(ctx, realm)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := m.copyUser(ctx, realm, name); err != nil {
				return named(err, "the user %q of the realm %q", name, realm)
			}
		}
		m.progress()
	}
	return nil
}

func (m *mover) copyUser(ctx context.Context, realm, name string) error {
	from, err := m.from.Credential(ctx, realm, name)
	if err != nil || len(from) == 0 {
		return err
	}
	to, err := m.to.Credential(ctx, realm, name)
	if err != nil {
		return err
	}
	note := thing("user", realm, name)
	switch choose(from, to, string(m.notes[note].Value)) {
	case leave:
		m.counts.Users.Known++
		return nil
	case take:
		if err := m.to.PutCredential(ctx, realm, name, from); err != nil {
			return err
		}
		m.counts.Users.New++
	case settle:
		m.counts.Users.Known++
	}
	return m.note(ctx, note, digest(from))
}

func (m *mover) copySubscribers(ctx context.Context) error {
	channels, err := m.from.Channels(ctx, m.opts.Prefix)
	if err != nil {
		return err
	}
	for channel := range channels {
		theirs, err := m.from.Registrations(ctx, channel)
		if err != nil {
			return named(err, "the subscribers of %q", channel)
		}
		all, err := m.to.Registrations(ctx, channel)
		if err != nil {
			return named(err, "the subscribers of %q", channel)
		}
		ours := make(map[string]engine.Registration, len(all))
		for _, r := range all {
			ours[r.CallbackURL] = r
		}
		for _, r := range theirs {
			to, there := ours[r.CallbackURL]
			if err := m.copySubscriber(ctx, channel, r, to, there); err != nil {
				return named(err, "a subscriber of %q", channel)
			}
		}
		m.progress()
	}
	return nil
}

// copySubscriber copies a registration that is not there, unless it was copied and
// has been removed since; or one that has been renewed in the first store.
func (m *mover) copySubscriber(ctx context.Context, channel string, from, to engine.Registration, there bool) error {
	note := thing("subscriber", channel, from.CallbackURL)
	noted, wasCopied := m.notes[note]
	renewed := !wasCopied || from.Age < noted.Age
	switch {
	case there && (!renewed || !longer(from.Left, to.Left)):
		m.counts.Subscribers.Known++
		if wasCopied {
			return nil
		}
	case !there && !renewed, from.CallbackURL == "": // see engine.Engine.RemoveSubscriber
		m.counts.Subscribers.Known++
		return nil
	default:
		added, err := m.to.AddSubscriber(ctx, channel, from.CallbackURL, from.Left)
		if err != nil {
			return err
		}
		if added {
			m.counts.Subscribers.New++
		} else {
			m.counts.Subscribers.Known++
		}
	}
	// The note is made anew each time: it tells when, too.
	_, err := m.to.SwapAttribute(ctx, notesGroup, note, noted.Value, []byte("1"), notesLast)
	return err
}
