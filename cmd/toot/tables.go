package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/watermarkchurch/toot-go/inbox"
	"github.com/watermarkchurch/toot-go/outbox"
)

func (c *command) outbox() *cobra.Command {
	return c.tables("outbox", "Print the tables of an outbox, from which events go out if a transaction commits", outbox.DefaultTable, func(dialect, table string) (string, error) {
		return outbox.Schema(outbox.Dialect(dialect), table)
	})
}

func (c *command) inbox() *cobra.Command {
	return c.tables("inbox", "Print the table of an inbox, by which events are handled once", inbox.DefaultTable, func(dialect, table string) (string, error) {
		return inbox.Schema(inbox.Dialect(dialect), table)
	})
}

// tables is a command with one to print SQL for people's own migrations.
func (c *command) tables(name, short, table string, schema func(dialect, table string) (string, error)) *cobra.Command {
	cmd := &cobra.Command{
		Use:     name,
		Short:   short,
		Example: "  toot " + name + " schema --dialect postgres",
		Args:    noSuchCommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var dialect string
	show := &cobra.Command{
		Use:   "schema",
		Short: "Print the SQL that makes the tables",
		Long: `Prints the SQL that makes the tables, for migrations of your own. Where they
are there already it changes nothing. An app that calls Migrate needs none of it.`,
		Example: "  toot " + name + " schema --dialect postgres > migrations/007_" + name + ".sql\n  toot " + name + " schema --dialect mysql --table shop." + name,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dialect == "" {
				return usagef("--dialect is needed: postgres, mysql (also for MariaDB) or sqlite")
			}
			text, err := schema(dialect, table)
			if err != nil {
				return usagef("%v", err)
			}
			_, err = io.WriteString(cmd.OutOrStdout(), text)
			return err
		},
	}
	show.Flags().StringVar(&dialect, "dialect", "", "the database: postgres, mysql (also for MariaDB) or sqlite")
	show.Flags().StringVar(&table, "table", table, "the table's name, after a schema's and a dot if need be")
	cmd.AddCommand(show)
	return cmd
}
