package enginetest

import (
	"bytes"
	"context"
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
		bug: "credentials are listed as channels",
		with: func(b *broken) {
			put := b.putCredential
			b.putCredential = func(ctx context.Context, realm, username string, proof []byte) error {
				_, err := b.addSubscriber(ctx, realm, username, 0)
				if err == nil {
					err = put(ctx, realm, username, proof)
				}
				return err
			}
		},
		caughtBy: []string{"Credentials/are_no_channels"},
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
