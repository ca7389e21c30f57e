package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine/anyengine"
)

// storeFlag is --store of the commands that look into a store.
type storeFlag struct{ name string }

func (f *storeFlag) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.name, "store", "", storeHelp)
}

const storeHelp = "the store: " + anyengine.Help + " (default: $TOOT_STORE, or sqlite:toot.db if that file is here)"

// storeName is the store that is meant: by default the one in this folder, where
// toot serve keeps its own.
func storeName(flag string) (string, error) {
	if name := cmp.Or(flag, os.Getenv("TOOT_STORE")); name != "" {
		return name, nil
	}
	if _, err := os.Stat("toot.db"); err == nil {
		return "sqlite:toot.db", nil
	}
	return "", usagef("which store? Name it with --store or TOOT_STORE: %s", anyengine.Help)
}

// openNamed opens the store that a flag names, or else the environment. With
// existing, a SQLite file that is not there is an error.
func (c *command) openNamed(ctx context.Context, flag string, existing bool) (anyengine.Store, error) {
	name, err := storeName(flag)
	if err != nil {
		return nil, err
	}
	s, err := anyengine.Open(ctx, name, &anyengine.Options{Existing: existing, Logger: c.logger()})
	if errors.Is(err, fs.ErrNotExist) && flag == "" {
		err = fmt.Errorf("%w (TOOT_STORE names it)", err)
	}
	return s, err
}

// open opens a store that exists, and an app on it that does not run.
func (f *storeFlag) open(cmd *cobra.Command, c *command) (*openStore, error) {
	s, err := c.openNamed(cmd.Context(), f.name, true)
	if err != nil {
		return nil, err
	}
	app, err := toot.New(s, &toot.Options{Logger: c.logger()})
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	return &openStore{app, s}, nil
}

type openStore struct {
	*toot.App
	store anyengine.Store
}

func (o *openStore) close() {
	_ = o.Close()
	_ = o.store.Close() // nothing of what was done depends on it
}

// withStore runs a command on its store, once check has found nothing wrong
// with what was asked for.
func (c *command) withStore(f *storeFlag, check func(args []string) error, fn func(ctx context.Context, s *openStore, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if check != nil {
			if err := check(args); err != nil {
				return err
			}
		}
		s, err := f.open(cmd, c)
		if err != nil {
			return err
		}
		defer s.close()
		return fn(cmd.Context(), s, args)
	}
}
