package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/watermarkchurch/toot-go/auth"
	"github.com/watermarkchurch/toot-go/cmd/toot/internal/ui"
	"github.com/watermarkchurch/toot-go/engine/anyengine"
)

// authFlags are the flags of all commands that manage credentials.
type authFlags struct {
	store    string
	prefix   string
	key      string
	original bool
	rights   auth.Rights
}

// add adds the flags that say where credentials are.
func (f *authFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.store, "store", "", storeHelp)
	flags.StringVar(&f.prefix, "channel-prefix", "", `the channel prefix of the app, such as "org.example.publisher."`)
	flags.StringVar(&f.key, "key", "", `the realm (default: the channel prefix followed by "toot.auth.credentials_store")`)
}

// addRights adds the flags that say what a user may do.
func (f *authFlags) addRights(flags *pflag.FlagSet) {
	flags.BoolVar(&f.rights.Operator, "operator", false, "the user may see and remove what others registered")
	flags.StringArrayVar(&f.rights.Prefixes, "prefix", nil, "the user may use only channels whose full names begin with this; repeatable")
}

// realm is where in a store the credentials are.
func (f *authFlags) realm() string {
	if f.key != "" {
		return f.key
	}
	return auth.Realm(f.prefix)
}

// withCredentials opens the store for a command, and says on standard error what
// it works on. With existing, a SQLite file that is not there is an error; the
// other commands may come before the app that is to use it.
func (c *command) withCredentials(f *authFlags, existing bool, fn func(context.Context, *auth.Credentials, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		name, err := storeName(f.store)
		if err != nil {
			return err
		}
		s, err := c.openNamed(cmd.Context(), f.store, existing)
		if err != nil {
			return err
		}
		users, err := auth.NewCredentials(s, &auth.Options{Key: f.realm(), Original: f.original, Logger: c.logger()})
		if err == nil {
			c.sayRealm(f, name)
			err = fn(cmd.Context(), users, args)
		}
		return errors.Join(err, s.Close())
	}
}

// sayRealm says which credentials a command works on.
func (c *command) sayRealm(f *authFlags, store string) {
	c.note("realm %s, store %s", ui.Clean(f.realm()), ui.Clean(anyengine.Redact(store)))
	if f.prefix == "" && f.key == "" {
		c.note("This is the realm of apps without a channel prefix; --channel-prefix names that of others.")
	}
}

// sayWhoAsks says who looks at the credentials that were added.
func (c *command) sayWhoAsks() {
	c.note("Apps that use package auth with this realm and store let the user in. toot serve does not: see its --publish-auth and --subscriptions-auth.")
}

func invalidIsUsage(err error) error {
	if errors.Is(err, auth.ErrInvalid) {
		return &usageError{err}
	}
	return err
}
