package enginetest

import (
	"bytes"
	"context"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

var credentialMutants = []mutant{
	{
		bug: "proofs are stored as text",
		with: func(b *broken) {
			put := b.putCredential
			b.putCredential = func(ctx context.Context, realm, username string, proof []byte) error {
				return put(ctx, realm, username, bytes.ToValidUTF8(proof, nil))
			}
		},
		caughtBy: []string{"Credentials/keep_every_byte"},
	},
	{
		bug: "realm and user name are joined by a colon",
		with: func(b *broken) {
			usernames := b.usernames
			b.twistUsers(func(realm, username string) (string, string) { return "all", realm + ":" + username })
			b.usernames = func(ctx context.Context, realm string) ([]string, error) {
				var names []string
				all, err := usernames(ctx, "all")
				for _, name := range all {
					if name, ok := strings.CutPrefix(name, realm+":"); ok {
						names = append(names, name)
					}
				}
				return names, err
			}
		},
		caughtBy: []string{"Credentials/belong_to_one_realm"},
	},
	{
		bug: "PutCredential keeps the proof that is there",
		with: func(b *broken) {
			put := b.putCredential
			b.putCredential = func(ctx context.Context, realm, username string, proof []byte) error {
				if there, _ := b.credential(ctx, realm, username); there != nil {
					return nil
				}
				return put(ctx, realm, username, proof)
			}
		},
		caughtBy: []string{"Credentials/are_replaced"},
	},
	{
		bug: "RemoveCredential removes nothing",
		with: func(b *broken) {
			b.removeCredential = func(context.Context, string, string) (bool, error) { return false, nil }
		},
		caughtBy: []string{"Credentials/are_removed_once"},
	},
	{
		bug: "user names are in descending order",
		with: func(b *broken) {
			usernames := b.usernames
			b.usernames = func(ctx context.Context, realm string) ([]string, error) {
				names, err := usernames(ctx, realm)
				slices.Reverse(names)
				return names, err
			}
		},
		caughtBy: []string{"Credentials/are_listed_in_order"},
	},
	{
		bug: "credentials are known to one engine only",
		with: func(b *broken) {
			b.twistUsers(func(realm, username string) (string, string) { return b.name() + realm, username })
		},
		caughtBy: []string{"Credentials/are_shared_and_survive"},
	},
	{
		bug: "credentials, attributes and what is remembered without a name are taken",
		with: func(b *broken) {
			put, remove, credential, usernames := b.putCredential, b.removeCredential, b.credential, b.usernames
			attributes, swap, remember := b.attributes, b.swapAttribute, b.remember
			b.putCredential = func(ctx context.Context, realm, username string, proof []byte) error {
				return swallow(put(ctx, realm, username, proof))
			}
			b.removeCredential = func(ctx context.Context, realm, username string) (bool, error) {
				removed, err := remove(ctx, realm, username)
				return removed, swallow(err)
			}
			b.credential = func(ctx context.Context, realm, username string) ([]byte, error) {
				proof, err := credential(ctx, realm, username)
				return proof, swallow(err)
			}
			b.usernames = func(ctx context.Context, realm string) ([]string, error) {
				names, err := usernames(ctx, realm)
				return names, swallow(err)
			}
			b.attributes = func(ctx context.Context, group string) (map[string]engine.Attribute, error) {
				all, err := attributes(ctx, group)
				return all, swallow(err)
			}
			b.swapAttribute = func(ctx context.Context, group, name string, old, value []byte, keep time.Duration) (bool, error) {
				swapped, err := swap(ctx, group, name, old, value, keep)
				return swapped, swallow(err)
			}
			b.remember = func(ctx context.Context, key string, value []byte, d time.Duration) ([]byte, error) {
				kept, err := remember(ctx, key, value, d)
				return kept, swallow(err)
			}
		},
		caughtBy: []string{"Credentials/without_a_name_are_refused", "Attributes/without_a_name_are_refused", "Memory/without_key_value_or_time_is_refused"},
	},
}

func (b *broken) twistUsers(twist func(realm, username string) (string, string)) {
	put, remove, credential := b.putCredential, b.removeCredential, b.credential
	b.putCredential = func(ctx context.Context, realm, username string, proof []byte) error {
		realm, username = twist(realm, username)
		return put(ctx, realm, username, proof)
	}
	b.removeCredential = func(ctx context.Context, realm, username string) (bool, error) {
		realm, username = twist(realm, username)
		return remove(ctx, realm, username)
	}
	b.credential = func(ctx context.Context, realm, username string) ([]byte, error) {
		realm, username = twist(realm, username)
		return credential(ctx, realm, username)
	}
}

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
}

var memoryMutants = []mutant{
	{
		bug: "Remember keeps the last value",
		with: func(b *broken) {
			b.remember = func(_ context.Context, _ string, value []byte, _ time.Duration) ([]byte, error) { return value, nil }
		},
		caughtBy: []string{"Memory/keeps_the_first_of_several"},
	},
	{
		bug: "Remember looks in one step and keeps in another",
		with: func(b *broken) {
			b.remember = func(_ context.Context, key string, value []byte, _ time.Duration) ([]byte, error) {
				unlock := b.lock()
				kept, there := b.s.text[key]
				unlock()
				if there {
					return []byte(kept), nil
				}
				time.Sleep(time.Millisecond)
				defer b.lock()()
				b.s.text[key] = string(value)
				return value, nil
			}
		},
		caughtBy: []string{"Memory/asked_by_many_at_once_answers_all_alike"},
	},
	{
		bug:      "what is remembered stays for good",
		with:     func(b *broken) { b.twistMemory(func(d time.Duration) time.Duration { return d + long }) },
		caughtBy: []string{"Memory/is_over_some_time"},
	},
	{
		bug: "Remember keeps a value as long as it is asked for",
		with: func(b *broken) {
			until := map[string]time.Time{}
			b.remember = func(_ context.Context, key string, value []byte, d time.Duration) ([]byte, error) {
				defer b.lock()()
				if !time.Now().Before(until[key]) {
					b.s.text[key] = string(value)
				}
				until[key] = time.Now().Add(d)
				return []byte(b.s.text[key]), nil
			}
		},
		caughtBy: []string{"Memory/is_over_some_time"},
	},
	{
		bug:      "what is remembered is forgotten too early",
		with:     func(b *broken) { b.twistMemory(func(d time.Duration) time.Duration { return (d + 1) / 2 }) },
		caughtBy: []string{"Memory/is_over_some_time"},
	},
	{
		bug: "what is remembered is known to one engine only",
		with: func(b *broken) {
			remember := b.remember
			b.remember = func(ctx context.Context, key string, value []byte, d time.Duration) ([]byte, error) {
				return remember(ctx, b.name()+key, value, d)
			}
		},
		caughtBy: []string{"Memory/is_shared_and_survives"},
	},
}

func (b *broken) twistMemory(twist func(time.Duration) time.Duration) {
	remember := b.remember
	b.remember = func(ctx context.Context, key string, value []byte, d time.Duration) ([]byte, error) {
		return remember(ctx, key, value, twist(d))
	}
}
