// Package config reads settings from flags, the environment and a file, in
// this order of precedence, and tells where each came from.
package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// Setting is one thing that can be set: by --name, TOOT_NAME or "name:".
type Setting struct {
	Name    string
	Default string
	Help    string
	// Secret values are not shown.
	Secret bool
	// Switch settings are true or false.
	Switch bool
	// Check reports what is wrong with a value. nil: nothing can be.
	Check func(string) error
}

// Env is the name of the setting's environment variable.
func (s *Setting) Env() string {
	return "TOOT_" + strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_"))
}

// Value is a setting's value and where it came from.
type Value struct {
	*Setting
	Text string
	From string // "--listen", "TOOT_LISTEN", "toot.yaml" or "default"
}

// Shown is the value as it may be shown.
func (v Value) Shown() string {
	switch {
	case v.Text == "":
		return "–"
	case v.Secret:
		return "(set)"
	}
	return v.Text
}

// Values are the values of settings, in their order.
type Values []Value

// Get returns the value of a setting by name.
func (vs Values) Get(name string) string {
	for _, v := range vs {
		if v.Name == name {
			return v.Text
		}
	}
	panic("config: no setting is named " + name)
}

// Set is a list of settings, on a command's flags.
type Set struct {
	Settings []Setting
	flags    *pflag.FlagSet
	file     *string
}

// AddFlags adds a flag for each setting, and --config for the file.
func (s *Set) AddFlags(flags *pflag.FlagSet) {
	s.flags = flags
	s.file = flags.String("config", "", "a YAML file with settings (TOOT_CONFIG)")
	for i := range s.Settings {
		setting := &s.Settings[i]
		help := setting.Help + " (" + setting.Env() + ")"
		if setting.Switch {
			flags.Bool(setting.Name, setting.Default == "true", help)
		} else {
			flags.String(setting.Name, setting.Default, help)
		}
	}
}

// Load reads all settings. The error has one line for each that is wrong; the
// values are returned nevertheless.
func (s *Set) Load() (Values, error) {
	name := cmp.Or(*s.file, os.Getenv("TOOT_CONFIG"))
	inFile := map[string]string{}
	var errs []error
	if name != "" {
		var err error
		if inFile, err = s.readFile(name); err != nil {
			errs = append(errs, err)
		}
	}
	values := make(Values, len(s.Settings))
	for i := range s.Settings {
		setting := &s.Settings[i]
		v := Value{Setting: setting, Text: setting.Default, From: "default"}
		if text, ok := inFile[setting.Name]; ok {
			v.Text, v.From = text, name
		}
		if text, ok := os.LookupEnv(setting.Env()); ok {
			v.Text, v.From = text, setting.Env()
		}
		if f := s.flags.Lookup(setting.Name); f.Changed {
			v.Text, v.From = f.Value.String(), "--"+setting.Name
		}
		if err := v.check(); err != nil {
			errs = append(errs, fmt.Errorf("%s (%s): %w", setting.Name, v.From, err))
		}
		values[i] = v
	}
	return values, errors.Join(errs...)
}

func (v Value) check() error {
	if v.Switch && v.Text != "true" && v.Text != "false" {
		return fmt.Errorf("%q is neither true nor false", v.Text)
	}
	if v.Check == nil {
		return nil
	}
	return v.Check(v.Text)
}

// readFile reads a file of "name: value" lines. A list stands for its members
// joined by commas.
func (s *Set) readFile(name string) (map[string]string, error) {
	b, err := os.ReadFile(name) //nolint:gosec // G304: the user names the file
	if err != nil {
		return nil, fmt.Errorf("can't read the configuration: %w", err)
	}
	var nodes map[string]yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(b)).Decode(&nodes); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s is not a YAML file of settings: %w", name, err)
	}
	values := map[string]string{}
	var errs []error
	for key, node := range nodes {
		if !slices.ContainsFunc(s.Settings, func(s Setting) bool { return s.Name == key }) {
			errs = append(errs, fmt.Errorf("%s, line %d: there is no setting %q; toot config check lists them all", name, node.Line, key))
			continue
		}
		switch node.Kind {
		case yaml.ScalarNode:
			if node.Tag != "!!null" {
				values[key] = node.Value
			}
		case yaml.SequenceNode:
			var list []string
			if err := node.Decode(&list); err != nil {
				errs = append(errs, fmt.Errorf("%s, line %d: %s: a list has to be one of texts", name, node.Line, key))
				continue
			}
			values[key] = strings.Join(list, ",")
		default:
			errs = append(errs, fmt.Errorf("%s, line %d: %s has to be a single value, or a list", name, node.Line, key))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return values, errors.Join(errs...)
}
