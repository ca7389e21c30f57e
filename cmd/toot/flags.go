package main

import (
	"cmp"
	"strings"

	"github.com/spf13/pflag"
)

// valueNames are what help calls the values of flags, where "string" or "int"
// would tell less.
var valueNames = map[string]string{
	"store": "STORE", "listen": "ADDRESS", "config": "FILE", "dir": "FOLDER", "exec": "COMMAND",
	"publisher": "URL", "signing-secret-file": "FILE", "callback-url": "URL", "public-url": "URL", "forward": "URL", "url": "URL", "redis": "URL", "otlp-endpoint": "URL",
	"channel": "CHANNEL", "channel-prefix": "PREFIX", "subscription": "CHANNEL=NAME", "queue": "QUEUE", "lane": "LANE", "kind": "KIND", "reason": "TEXT",
	"token": "TOKEN", "key": "KEY", "publish-auth": "CREDENTIALS", "subscriptions-auth": "CREDENTIALS", "metrics-auth": "CREDENTIALS",
	"count": "N", "events": "N", "limit": "N", "max-event-bytes": "N", "max-intake-bytes": "N", "max-retries": "N", "max-deliveries": "N", "max-deliveries-per-url": "N", "max-deliveries-per-host": "N",
	"max-rate-per-url": "N", "dead-max": "N", "max-connections": "N", "allow-host": "HOSTS", "allow-callback": "WHERE",
	"read-timeout": "TIME", "write-timeout": "TIME", "registration-lease": "TIME", "subscription-prefixes": "PREFIXES", "prefix": "PREFIX",
	"request-timeout": "TIME", "drain-timeout": "TIME", "dedupe": "TIME", "dead-age": "TIME", "interval": "TIME", "since": "WHEN", "until": "WHEN",
	"log-format": "FORMAT", "log-level": "LEVEL", "baggage-hosts": "HOSTS", "redis-namespace": "NAME",
}

// valueName is what help calls the value of a flag.
func valueName(f *pflag.Flag) string {
	return cmp.Or(valueNames[f.Name], strings.ToUpper(f.Value.Type()))
}

// named returns flags whose values have names.
func named(flags *pflag.FlagSet) *pflag.FlagSet {
	with := pflag.NewFlagSet("", pflag.ContinueOnError)
	with.SortFlags = flags.SortFlags
	flags.VisitAll(func(f *pflag.Flag) {
		shown := *f
		if name := valueNames[f.Name]; name != "" {
			shown.Value = namedValue{f.Value, name}
			shown.DefValue = strings.TrimSuffix(strings.TrimPrefix(f.DefValue, "["), "]") // of lists
		}
		with.AddFlag(&shown)
	})
	return with
}

type namedValue struct {
	pflag.Value
	name string
}

func (v namedValue) Type() string { return v.name }
