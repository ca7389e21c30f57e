package enginetest

import (
	"bytes"
	"context"
	"runtime"
	"strings"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

var attributeMutants = []mutant{
	{
		bug: "SwapAttribute ignores the old value",
		with: func(b *broken) {
			swap := b.swapAttribute
			b.swapAttribute = func(ctx context.Context, group, name string, _, value []byte, keep time.Duration) (bool, error) {
				there, err := b.attribute(ctx, group, name)
				if err != nil {
					return false, err
				}
				return swap(ctx, group, name, there.Value, value, keep)
			}
		},
		caughtBy: []string{"Attributes/are_swapped_only_for_what_was_there"},
	},
	{
		bug: "SwapAttribute compares in one step and sets in another",
		with: func(b *broken) {
			swap := b.swapAttribute
			b.swapAttribute = func(ctx context.Context, group, name string, old, value []byte, keep time.Duration) (bool, error) {
				there, err := b.attribute(ctx, group, name)
				if err != nil || !bytes.Equal(there.Value, old) {
					return false, err
				}
				for swapped := false; !swapped && err == nil; {
					runtime.Gosched()
					if there, err = b.attribute(ctx, group, name); err == nil {
						swapped, err = swap(ctx, group, name, there.Value, value, keep)
					}
				}
				return err == nil, err
			}
		},
		caughtBy: []string{"Attributes/swapped_by_many_at_once_lose_nothing"},
	},
	{
		bug: "an attribute stays when it is set to nothing",
		with: func(b *broken) {
			swap := b.swapAttribute
			b.swapAttribute = func(ctx context.Context, group, name string, old, value []byte, keep time.Duration) (bool, error) {
				if len(value) == 0 {
					value = old
				}
				return swap(ctx, group, name, old, value, keep)
			}
		},
		caughtBy: []string{"Attributes/are_deleted"},
	},
	{
		bug: "attributes are listed as channels",
		with: func(b *broken) {
			swap := b.swapAttribute
			b.swapAttribute = func(ctx context.Context, group, name string, old, value []byte, keep time.Duration) (bool, error) {
				swapped, err := swap(ctx, group, name, old, value, keep)
				if swapped {
					_, err = b.addSubscriber(ctx, group, name, 0)
				}
				return swapped, err
			}
		},
		caughtBy: []string{"Attributes/are_no_channels"},
	},
	{
		bug: "attributes are known to one engine only",
		with: func(b *broken) {
			attributes, swap := b.attributes, b.swapAttribute
			b.attributes = func(ctx context.Context, group string) (map[string]engine.Attribute, error) {
				return attributes(ctx, b.name()+group)
			}
			b.swapAttribute = func(ctx context.Context, group, name string, old, value []byte, keep time.Duration) (bool, error) {
				return swap(ctx, b.name()+group, name, old, value, keep)
			}
		},
		caughtBy: []string{"Attributes/are_shared_and_survive"},
	},
	{
		bug: "Attribute is told for a while as it was",
		with: func(b *broken) {
			type memory struct {
				a     engine.Attribute
				until time.Time
			}
			known := map[string]memory{}
			attribute := b.attribute
			b.attribute = func(ctx context.Context, group, name string) (engine.Attribute, error) {
				if m := known[group+"/"+name]; time.Now().Before(m.until) {
					return m.a, nil
				}
				a, err := attribute(ctx, group, name)
				known[group+"/"+name] = memory{a, time.Now().Add(brief)}
				return a, err
			}
		},
		caughtBy: []string{"Attributes/are_told_one_at_a_time_too"},
	},
	{
		bug:      "Attribute looks in every group",
		with:     func(b *broken) { b.twistGroup(func(string) string { return "group" }) },
		caughtBy: []string{"Attributes/are_told_one_at_a_time_too", "Attributes/belong_to_one_group"},
	},
	{
		bug:      "groups are kept in lower case",
		with:     func(b *broken) { b.twistGroup(strings.ToLower) },
		caughtBy: []string{"Attributes/keep_every_byte"},
	},
	{
		bug:      "attributes have no age",
		with:     func(b *broken) { b.twistAttributes(func(a *engine.Attribute) { a.Age = 0 }) },
		caughtBy: []string{"Attributes/tell_their_age", "Attributes/are_shared_and_survive"},
	},
	{
		bug: "an attribute that is not kept for a time has no age",
		with: func(b *broken) {
			b.twistAttributes(func(a *engine.Attribute) {
				if a.Left == 0 {
					a.Age = 0
				}
			})
		},
		caughtBy: []string{"Attributes/tell_their_age"},
	},
	{
		bug:      "attributes do not tell how long they are kept",
		with:     func(b *broken) { b.twistAttributes(func(a *engine.Attribute) { a.Left = 0 }) },
		caughtBy: []string{"Attributes/tell_how_long_they_are_kept"},
	},
	{
		bug: "Left of an attribute is how long it is kept altogether",
		with: func(b *broken) {
			b.twistAttributes(func(a *engine.Attribute) {
				if a.Left > 0 {
					a.Left += a.Age + time.Second
				}
			})
		},
		caughtBy: []string{"Attributes/tell_how_long_they_are_kept"},
	},
	{
		bug:      "keep is ignored",
		with:     func(b *broken) { b.twistKeep(func(time.Duration) time.Duration { return 0 }) },
		caughtBy: []string{"Attributes/are_gone_when_their_time_is_over", "Attributes/whose_time_is_over_count_as_none"},
	},
	{
		bug:      "attributes are gone too early",
		with:     func(b *broken) { b.twistKeep(func(d time.Duration) time.Duration { return d / 2 }) },
		caughtBy: []string{"Attributes/are_gone_when_their_time_is_over"},
	},
	{
		bug: "a keep of less than zero is over",
		with: func(b *broken) {
			b.twistKeep(func(d time.Duration) time.Duration {
				if d < 0 {
					d = 1
				}
				return d
			})
		},
		caughtBy: []string{"Attributes/tell_how_long_they_are_kept"},
	},
	{
		bug: "SwapAttribute takes an attribute for there whose time is over",
		with: func(b *broken) {
			swap := b.swapAttribute
			b.swapAttribute = func(ctx context.Context, group, name string, old, value []byte, keep time.Duration) (bool, error) {
				unlock := b.lock()
				last := b.s.text[group+"/"+name]
				unlock()
				if string(old) != last {
					return false, nil
				}
				there, err := b.attribute(ctx, group, name)
				if err != nil {
					return false, err
				}
				swapped, err := swap(ctx, group, name, there.Value, value, keep)
				defer b.lock()()
				b.s.text[group+"/"+name] = string(value)
				return swapped, err
			}
		},
		caughtBy: []string{"Attributes/whose_time_is_over_count_as_none"},
	},
	{
		bug: "an attribute set to what it was is left as it is",
		with: func(b *broken) {
			swap := b.swapAttribute
			b.swapAttribute = func(ctx context.Context, group, name string, old, value []byte, keep time.Duration) (bool, error) {
				there, err := b.attribute(ctx, group, name)
				if err == nil && bytes.Equal(old, value) && bytes.Equal(there.Value, old) {
					return true, nil
				}
				return swap(ctx, group, name, old, value, keep)
			}
		},
		caughtBy: []string{"Attributes/set_anew_are_young_again"},
	},
	{
		bug: "an attribute keeps the end that it was given first",
		with: func(b *broken) {
			swap := b.swapAttribute
			b.swapAttribute = func(ctx context.Context, group, name string, old, value []byte, keep time.Duration) (bool, error) {
				if there, err := b.attribute(ctx, group, name); err == nil && there.Value != nil {
					keep = there.Left
				}
				return swap(ctx, group, name, old, value, keep)
			}
		},
		caughtBy: []string{"Attributes/set_anew_are_young_again"},
	},
	{
		bug: "a swap that is refused makes an attribute young",
		with: func(b *broken) {
			swap := b.swapAttribute
			b.swapAttribute = func(ctx context.Context, group, name string, old, value []byte, keep time.Duration) (bool, error) {
				swapped, err := swap(ctx, group, name, old, value, keep)
				if there, _ := b.attribute(ctx, group, name); err == nil && !swapped && there.Value != nil {
					_, err = swap(ctx, group, name, there.Value, there.Value, keep)
				}
				return swapped, err
			}
		},
		caughtBy: []string{"Attributes/set_anew_are_young_again"},
	},
}

// twistAttributes changes the attributes that are told.
func (b *broken) twistAttributes(twist func(*engine.Attribute)) {
	attribute, attributes := b.attribute, b.attributes
	b.attribute = func(ctx context.Context, group, name string) (engine.Attribute, error) {
		a, err := attribute(ctx, group, name)
		twist(&a)
		return a, err
	}
	b.attributes = func(ctx context.Context, group string) (map[string]engine.Attribute, error) {
		all, err := attributes(ctx, group)
		for name, a := range all {
			twist(&a)
			all[name] = a
		}
		return all, err
	}
}

func (b *broken) twistKeep(twist func(keep time.Duration) time.Duration) {
	swap := b.swapAttribute
	b.swapAttribute = func(ctx context.Context, group, name string, old, value []byte, keep time.Duration) (bool, error) {
		return swap(ctx, group, name, old, value, twist(keep))
	}
}

func (b *broken) twistGroup(twist func(string) string) {
	attribute, attributes, swap := b.attribute, b.attributes, b.swapAttribute
	b.attribute = func(ctx context.Context, group, name string) (engine.Attribute, error) {
		return attribute(ctx, twist(group), name)
	}
	b.attributes = func(ctx context.Context, group string) (map[string]engine.Attribute, error) {
		return attributes(ctx, twist(group))
	}
	b.swapAttribute = func(ctx context.Context, group, name string, old, value []byte, keep time.Duration) (bool, error) {
		return swap(ctx, twist(group), name, old, value, keep)
	}
}
