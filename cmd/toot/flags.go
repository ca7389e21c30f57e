package main

import (
	"cmp"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/watermarkchurch/toot-go/cmd/toot/internal/ui"
)

// valueNames are what help calls the values of flags, where "string" or "int"
// would tell less.
var valueNames = map[string]string{
	"dialect": "DATABASE", "table": "TABLE",
	"store": "STORE", "listen": "ADDRESS", "config": "FILE", "dir": "FOLDER", "exec": "COMMAND",
	"publisher": "URL", "signing-secret-file": "FILE", "callback-url": "URL", "public-url": "URL", "forward": "URL", "url": "URL", "redis": "URL", "otlp-endpoint": "URL",
	"channel": "CHANNEL", "channel-prefix": "PREFIX", "subscription": "CHANNEL=NAME", "queue": "QUEUE", "lane": "LANE", "kind": "KIND", "reason": "TEXT",
	"token": "TOKEN", "key": "KEY", "after": "TIME", "publish-auth": "SECRETS", "subscriptions-auth": "SECRETS", "metrics-auth": "SECRETS",
	"count": "N", "events": "N", "limit": "N", "max-event-bytes": "N", "max-intake-bytes": "N", "max-retries": "N", "max-deliveries": "N", "max-deliveries-per-url": "N", "max-deliveries-per-host": "N",
	"max-rate-per-url": "N", "dead-max": "N", "max-connections": "N", "allow-host": "HOSTS", "allow-callback": "WHERE",
	"read-timeout": "TIME", "write-timeout": "TIME", "registration-lease": "TIME", "subscription-prefixes": "LIST", "prefix": "PREFIX",
	"request-timeout": "TIME", "drain-timeout": "TIME", "dedupe": "TIME", "dead-age": "TIME", "interval": "TIME", "since": "WHEN", "until": "WHEN",
	"log-format": "FORMAT", "log-level": "LEVEL", "baggage-hosts": "HOSTS", "redis-namespace": "NAME", "realm": "NAME", "wait": "TIME",
}

// valueName is what help calls the value of a flag.
func valueName(f *pflag.Flag) string {
	return cmp.Or(valueNames[f.Name], strings.ToUpper(f.Value.Type()))
}

// flagUsages lists flags: what each takes, and what it is for in a column beside
// that, or below where there is no room.
func (c *command) flagUsages(flags *pflag.FlagSet) string {
	var names, uses []string
	longest, word := 0, 0 // the longest name, the longest word of a use
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		name := "      --" + f.Name
		if f.Shorthand != "" {
			name = "  -" + f.Shorthand + ", --" + f.Name
		}
		if f.Value.Type() != "bool" {
			name += " " + valueName(f)
		}
		use := f.Usage
		if f.Name == "help" {
			use = "show this help"
		}
		if !slices.Contains([]string{"", "0", "0s", "false", "[]"}, f.DefValue) {
			use += " (default " + f.DefValue + ")"
		}
		names, uses = append(names, name), append(uses, use)
		longest = max(longest, len(name))
		for w := range strings.FieldsSeq(use) {
			word = max(word, len(w))
		}
	})
	const least = 34 // columns for a text that is read beside a name
	indent, between := longest+3, ""
	if c.helpWidth()-indent < max(least, word) {
		indent, between = 10, "\n"+strings.Repeat(" ", 10)
	}
	var b strings.Builder
	for i, name := range names {
		gap := cmp.Or(between, strings.Repeat(" ", max(indent-len(name), 1)))
		b.WriteString(name + gap + ui.Wrap(uses[i], c.helpWidth()-indent, strings.Repeat(" ", indent)) + "\n")
	}
	return b.String()
}
