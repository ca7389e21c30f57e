package main

import (
	"github.com/spf13/cobra"

	"github.com/watermarkchurch/toot-go/cmd/toot/internal/config"
	"github.com/watermarkchurch/toot-go/cmd/toot/internal/ui"
	"github.com/watermarkchurch/toot-go/engine/anyengine"
)

func (c *command) config() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "config",
		Short:   "Check the settings of toot serve",
		Example: "  toot config check --config /etc/toot/toot.yaml",
		Args:    noSuchCommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	settings := config.Set{Settings: serveSettings()}
	var asJSON bool
	check := &cobra.Command{
		Use:     "check",
		Short:   "Show every setting, where it comes from, and what is wrong with it",
		Example: "  toot config check --config toot.yaml\n  TOOT_LISTEN=:8080 toot config check --json",
		Args:    arguments(0, 0),
		RunE: func(*cobra.Command, []string) error {
			values, err := settings.Load()
			if showErr := c.showSettings(values, asJSON); showErr != nil {
				return showErr
			}
			return err
		},
	}
	settings.AddFlags(check.Flags())
	check.Flags().SortFlags = false
	check.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	cmd.AddCommand(check)
	return cmd
}

func (c *command) showSettings(values config.Values, asJSON bool) error {
	t := ui.Table{Columns: []ui.Column{{Title: "setting"}, {Title: "value", Flex: true}, {Title: "from"}}}
	for _, v := range values {
		shown := v.Shown()
		if v.Name == "store" || v.Name == "otlp-endpoint" || v.Name == "public-url" {
			shown = anyengine.Redact(shown)
		}
		if asJSON {
			if shown == "–" {
				shown = ""
			}
			err := c.out.JSON(struct {
				Setting string `json:"setting"`
				Value   string `json:"value"`
				From    string `json:"from"`
			}{v.Name, shown, v.From})
			if err != nil {
				return err
			}
			continue
		}
		color := ui.Plain
		if v.From == "default" {
			color = ui.Dim
		}
		t.Add(v.Name, ui.Cell{Text: ui.Clean(shown), Color: color}, ui.Cell{Text: ui.Clean(v.From), Color: color})
	}
	if !asJSON {
		c.out.Table(&t)
	}
	return nil
}
