package anyengine

import (
	"net/url"
	"strings"
)

// Redact returns the name of a store, or any URL, without what may be secret,
// fit for a log: without user and password, and without what follows a ? but the
// settings of a store that are none; "(not a URL)" if that can't be told apart.
func Redact(name string) string {
	scheme, rest, isURL := strings.Cut(name, "://")
	if !isURL {
		if kindOf(name) == nil && strings.ContainsAny(name, "@?:%") {
			return "(not a URL)"
		}
		return name
	}
	shown, query, hasQuery := strings.Cut(rest, "?")
	at := strings.LastIndexByte(shown, '@')
	switch {
	case at >= 0:
		shown = "redacted" + shown[at:]
	case strings.Contains(query, "@"): // that may be the end of a password with a ? in it
		return scheme + "://redacted"
	}
	if hasQuery {
		shown += "?" + redactQuery(query, kindOf(name))
	}
	return scheme + "://" + shown
}

// redactQuery leaves the settings that a kind of store shows, if it is one.
func redactQuery(query string, k *kind) string {
	values, err := url.ParseQuery(query)
	if err != nil || k == nil {
		return "redacted"
	}
	shown := url.Values{}
	for _, setting := range k.shown {
		if values.Has(setting) {
			shown.Set(setting, values.Get(setting))
			values.Del(setting)
		}
	}
	switch {
	case len(values) == 0:
		return shown.Encode()
	case len(shown) == 0:
		return "redacted"
	}
	return shown.Encode() + "&redacted"
}
