package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/watermarkchurch/toot-go/auth"
	"github.com/watermarkchurch/toot-go/cmd/toot/internal/ui"
)

func (c *command) auth() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "auth",
		Short: "Manage the users of apps that use package auth",
		Long: `Manages user names and passwords with which other apps log in to an app that is
written with this library and has its services behind HTTP Basic authentication
(package auth). Running apps notice a change within seconds.

toot serve does not use them. Its credentials are settings: --publish-auth,
--subscriptions-auth and --metrics-auth.

The users of an app are kept in its store, in a realm. That is the app's channel
prefix, named with --channel-prefix, followed by "toot.auth.credentials_store";
--key names another one. On Redis it is the key of the HASH in which the Ruby gem
toot-auth keeps them, too.`,
		Example: `  toot auth generate shop --store sqlite:toot.db --channel-prefix org.example.publisher.
  toot auth add ann --store redis://localhost --channel-prefix org.example.publisher.
  toot auth list
  toot auth remove ann`,
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f := &authFlags{}
	f.add(cmd.PersistentFlags())
	cmd.AddCommand(c.authAdd(f), c.authGenerate(f), c.authRemove(f), c.authList(f))
	return cmd
}

func (c *command) authAdd(f *authFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add USERNAME",
		Short: "Add a user, or change a user's password",
		Long: `Adds a user, or changes the password of one who is there. The password is asked
for on the terminal, or read from the first line of standard input.

It is kept as an argon2id hash, which apps that use the Ruby gem can't verify.
--original keeps its SHA-256 alone, as the gem does: that is only as strong as the
password is random. See also toot auth generate.`,
		Example: "  toot auth add ann\n  pwgen 32 1 | toot auth add ann --original",
		Args:    arguments(1, 1),
		RunE: c.withCredentials(f, false, func(ctx context.Context, users *auth.Credentials, args []string) error {
			password, err := c.askPassword(ctx)
			if err != nil {
				return err
			}
			before, err := users.List(ctx)
			if err != nil {
				return err
			}
			if f.rights.Operator || len(f.rights.Prefixes) > 0 {
				err = users.AddWith(ctx, args[0], password, f.rights)
			} else { // a user who is there keeps the rights
				err = users.Add(ctx, args[0], password)
			}
			if err != nil {
				return invalidIsUsage(err)
			}
			if slices.Contains(before, args[0]) {
				c.out.Say("Changed the password of %s", ui.Clean(args[0]))
			} else {
				c.out.Say("Added %s", ui.Clean(args[0]))
			}
			c.sayWhoAsks()
			return nil
		}),
	}
	cmd.Flags().BoolVar(&f.original, "original", false, "keep the password as the Ruby gem does")
	f.addRights(cmd.Flags())
	return cmd
}

func (c *command) authGenerate(f *authFlags) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "generate NAME",
		Short: "Add a user with a random name and password, and print them",
		Long: `Adds a user whose name is NAME followed by 32 hexadecimal digits, with a password
of 32 more, and prints both. The password can't be shown again. Apps that use the
Ruby gem can verify it, too.`,
		Example: "  toot auth generate shop --store sqlite:toot.db",
		Args:    arguments(1, 1),
		RunE: c.withCredentials(f, false, func(ctx context.Context, users *auth.Credentials, args []string) error {
			username, password, err := users.Generate(ctx, args[0])
			if err == nil {
				err = users.Grant(ctx, username, f.rights)
			}
			if err != nil {
				return invalidIsUsage(err)
			}
			c.sayWhoAsks()
			if asJSON {
				return c.out.JSON(struct {
					Username string `json:"username"`
					Password string `json:"password"`
				}{username, password})
			}
			c.out.Say("Username: %s\nPassword: %s", username, password)
			return nil
		}),
	}
	f.addRights(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

func (c *command) authRemove(f *authFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "remove USERNAME",
		Short:   "Remove a user",
		Example: "  toot auth remove ann",
		Args:    arguments(1, 1),
		RunE: c.withCredentials(f, true, func(ctx context.Context, users *auth.Credentials, args []string) error {
			removed, err := users.Remove(ctx, args[0])
			if err == nil && !removed {
				err = fmt.Errorf("there is no user %q in this realm: see toot auth list", args[0])
			}
			if err == nil {
				c.out.Say("Removed %s", ui.Clean(args[0]))
			}
			return err
		}),
	}
}

func (c *command) authList(f *authFlags) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the users and what they may do",
		Example: "  toot auth list --store redis://localhost --channel-prefix org.example.publisher.",
		Args:    arguments(0, 0),
		RunE: c.withCredentials(f, true, func(ctx context.Context, users *auth.Credentials, _ []string) error {
			names, err := users.List(ctx)
			if err != nil {
				return err
			}
			for _, name := range names {
				rights, err := users.Rights(ctx, name)
				if err == nil {
					err = c.showUser(name, rights, asJSON)
				}
				if err != nil {
					return err
				}
			}
			if len(names) == 0 {
				c.note("There are no users in this realm.")
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return cmd
}

func (c *command) showUser(name string, rights auth.Rights, asJSON bool) error {
	if asJSON {
		return c.out.JSON(struct {
			Username string `json:"username"`
			auth.Rights
		}{name, rights})
	}
	line := ui.Clean(name)
	if rights.Operator {
		line += " operator"
	}
	for _, p := range rights.Prefixes {
		line += " prefix=" + ui.Clean(p)
	}
	c.out.Say("%s", line)
	return nil
}
