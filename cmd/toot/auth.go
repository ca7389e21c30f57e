package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/watermarkchurch/toot-go/auth"
	"github.com/watermarkchurch/toot-go/cmd/toot/internal/ui"
)

// authFlags are the flags of all commands that manage credentials.
type authFlags struct {
	store    string
	prefix   string
	key      string
	original bool
	rights   auth.Rights
}

// addRights adds the flags that say what a user may do.
func (f *authFlags) addRights(flags *pflag.FlagSet) {
	flags.BoolVar(&f.rights.Operator, "operator", false, "the user may see and remove what others registered")
	flags.StringArrayVar(&f.rights.Prefixes, "prefix", nil, "only channels whose full names begin with this; may be given several times")
}

func (c *command) auth() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "auth",
		Short: "Manage the credentials with which other apps come in",
		Long: `The credentials of an app are user names and passwords, with which other apps
reach its services if those are behind HTTP Basic authentication (package
auth). Running apps know of a change within seconds.

They lie under the app's channel prefix: name it with --channel-prefix, or the
whole key with --key. On Redis, that is the HASH in which the Ruby gem toot-auth
has them too.`,
		Example: `  toot auth generate shop --store sqlite:toot.db --channel-prefix org.example.publisher.
  toot auth add ann --store redis://localhost --channel-prefix org.example.publisher.
  toot auth list
  toot auth remove ann`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q for %q: see %s --help", args[0], cmd.CommandPath(), cmd.CommandPath())
			}
			return cmd.Help()
		},
	}
	f := &authFlags{}
	flags := cmd.PersistentFlags()
	flags.StringVar(&f.store, "store", "", storeHelp)
	flags.StringVar(&f.prefix, "channel-prefix", "", `the channel prefix of the app, such as "org.example.publisher."`)
	flags.StringVar(&f.key, "key", "", `the whole key (default: the channel prefix and "toot.auth.credentials_store")`)

	add := &cobra.Command{
		Use:   "add USERNAME",
		Short: "Add a user, or give one another password",
		Long: `The password is asked for on the terminal, or read from the first line of
standard input. It is kept as an argon2id hash, which apps that use the Ruby gem
can't verify; --original keeps it as they do, as its SHA-256 alone, which is only
as strong as the password is random. See also toot auth generate.`,
		Example: "  toot auth add ann\n  pwgen 32 1 | toot auth add ann --original",
		Args:    cobra.ExactArgs(1),
		RunE: c.withCredentials(f, false, func(ctx context.Context, users *auth.Credentials, args []string) error {
			password, err := c.askPassword(ctx)
			if err != nil {
				return err
			}
			if f.rights.Operator || len(f.rights.Prefixes) > 0 {
				err = users.AddWith(ctx, args[0], password, f.rights)
			} else { // one who is there keeps his rights
				err = users.Add(ctx, args[0], password)
			}
			if err != nil {
				return invalidIsUsage(err)
			}
			fmt.Fprintf(c.out, "Added %s.\n", ui.Clean(args[0]))
			return nil
		}),
	}
	add.Flags().BoolVar(&f.original, "original", false, "keep the password as the Ruby gem does")
	var asJSON bool
	generate := &cobra.Command{
		Use:   "generate NAME",
		Short: "Add a user with a random name and password, and print them",
		Long: `The user name is NAME and 32 hexadecimal digits, the password 32 more. They are
printed once. Apps that use the Ruby gem can verify them too.`,
		Example: "  toot auth generate shop --store sqlite:toot.db",
		Args:    cobra.ExactArgs(1),
		RunE: c.withCredentials(f, false, func(ctx context.Context, users *auth.Credentials, args []string) error {
			username, password, err := users.Generate(ctx, args[0])
			if err == nil {
				err = users.Grant(ctx, username, f.rights)
			}
			if err != nil {
				return invalidIsUsage(err)
			}
			if asJSON {
				return c.out.JSON(struct {
					Username string `json:"username"`
					Password string `json:"password"`
				}{username, password})
			}
			fmt.Fprintf(c.out, "Username: %s\nPassword: %s\n", username, password)
			return nil
		}),
	}
	remove := &cobra.Command{
		Use:     "remove USERNAME",
		Short:   "Remove a user",
		Example: "  toot auth remove ann",
		Args:    cobra.ExactArgs(1),
		RunE: c.withCredentials(f, true, func(ctx context.Context, users *auth.Credentials, args []string) error {
			removed, err := users.Remove(ctx, args[0])
			if err == nil && !removed {
				err = fmt.Errorf("there is no user %q: see toot auth list", args[0])
			}
			if err == nil {
				fmt.Fprintf(c.out, "Removed %s.\n", ui.Clean(args[0]))
			}
			return err
		}),
	}
	list := &cobra.Command{
		Use:     "list",
		Short:   "List the user names",
		Example: "  toot auth list --store redis://localhost --channel-prefix org.example.publisher.",
		Args:    cobra.NoArgs,
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
			return nil
		}),
	}
	for _, sub := range []*cobra.Command{add, generate} {
		f.addRights(sub.Flags())
	}
	for _, sub := range []*cobra.Command{generate, list} {
		sub.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	}
	cmd.AddCommand(add, generate, remove, list)
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
	fmt.Fprintln(c.out, line)
	return nil
}

// withCredentials opens the store for a command. With existing, a SQLite file
// that is not there is an error; the others may come before the app that is to
// use it.
func (c *command) withCredentials(f *authFlags, existing bool, fn func(context.Context, *auth.Credentials, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		s, err := c.openNamed(cmd.Context(), f.store, existing)
		if err != nil {
			return err
		}
		users, err := auth.NewCredentials(s, &auth.Options{ChannelPrefix: f.prefix, Key: f.key, Original: f.original, Logger: c.logger()})
		if err == nil {
			err = fn(cmd.Context(), users, args)
		}
		return errors.Join(err, s.Close())
	}
}

func invalidIsUsage(err error) error {
	if errors.Is(err, auth.ErrInvalid) {
		return &usageError{err}
	}
	return err
}

// askPassword reads a password twice from the terminal, without echo, or once
// from a line of whatever else standard input is.
func (c *command) askPassword(ctx context.Context) (string, error) {
	f, ok := c.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		line, err := bufio.NewReader(io.LimitReader(c.in, 1<<16)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("can't read the password: %w", err)
		}
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			return "", usagef("no password: it is read from standard input, or asked for on a terminal")
		}
		return line, nil
	}
	before, err := term.GetState(int(f.Fd()))
	if err != nil {
		return "", fmt.Errorf("can't read the password: %w", err)
	}
	var answers [2]string
	for i, prompt := range []string{"Password: ", "Again: "} {
		fmt.Fprint(c.err, prompt)
		answer, err := interruptible(ctx, func() ([]byte, error) { return term.ReadPassword(int(f.Fd())) })
		fmt.Fprintln(c.err)
		if errors.Is(err, errInterrupted) {
			_ = term.Restore(int(f.Fd()), before) // with echo
			return "", err
		}
		if err != nil {
			return "", fmt.Errorf("can't read the password: %w", err)
		}
		answers[i] = string(answer)
	}
	if answers[0] != answers[1] {
		return "", usagef("the two passwords are not the same: nothing was changed")
	}
	return answers[0], nil
}
