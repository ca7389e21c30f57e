package wire

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxURLBytes bounds a callback URL.
const maxURLBytes = 2048

// CheckHTTPURL accepts absolute http and https URLs with a host.
func CheckHTTPURL(raw string) error {
	if isPlainURL(raw) {
		return nil
	}
	return checkParsedURL(raw)
}

// isPlainURL recognises most http and https URLs at a glance, which takes a
// tenth of the time: a large channel's are looked at for each event.
func isPlainURL(raw string) bool {
	rest, ok := strings.CutPrefix(raw, "https://")
	if !ok {
		rest, ok = strings.CutPrefix(raw, "http://")
	}
	if !ok || rest == "" || !isPlainByte(rest[0]) {
		return false
	}
	i := 0
	for i < len(rest) && (isPlainByte(rest[i]) || rest[i] == '.' || rest[i] == '-') {
		i++
	}
	if i < len(rest) && rest[i] == ':' {
		for i++; i < len(rest) && rest[i] >= '0' && rest[i] <= '9'; i++ {
		}
	}
	if i < len(rest) && rest[i] != '/' {
		return false
	}
	for ; i < len(rest); i++ {
		if c := rest[i]; !isPlainByte(c) && c != '/' && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// isPlainByte reports letters and digits.
func isPlainByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z'
}

func checkParsedURL(raw string) error {
	const want = "want an absolute URL such as https://app.example.org/callbacks"
	if raw == "" {
		return fmt.Errorf("it is empty (%s)", want)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return fmt.Errorf("not a URL (%s)", want) // the parser's error would repeat credentials
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("its scheme is neither http nor https (%s)", want)
	}
	if !utf8.ValidString(raw) || strings.IndexFunc(raw, isControl) >= 0 {
		return errors.New("it has control characters or is not UTF-8")
	}
	if u.Hostname() == "" {
		return fmt.Errorf("it has no host (%s)", want)
	}
	if strings.Contains(u.RawQuery, " ") {
		return errors.New("its query has a space in it (write %20)")
	}
	return nil
}

// RequestURL returns a URL as requests are made to it. One that was stored
// before CheckHTTPURL refused it, or by another program, may have spaces in its
// query, which would end the target in the request's first line.
func RequestURL(raw string) string {
	before, query, _ := strings.Cut(raw, "?")
	if !strings.Contains(query, " ") {
		return raw
	}
	return before + "?" + strings.ReplaceAll(query, " ", "%20")
}

// CheckCallbackURL is CheckHTTPURL with a bound on the length.
func CheckCallbackURL(raw string) error {
	if len(raw) > maxURLBytes {
		return fmt.Errorf("%d bytes, at most %d", len(raw), maxURLBytes)
	}
	return CheckHTTPURL(raw)
}

// notURL stands for what is no URL where one is shown: nobody knows what in it is
// secret.
const notURL = "(not a URL)"

// Normalize tells where an http or https URL leads, however it is spelled:
// endpoint is its scheme, host, port, path and query, and host its host and
// port. User, password and fragment don't count, nor does the case of the host,
// a default port that is named, or how the path is escaped. Both are empty for
// what is no such URL.
func Normalize(raw string) (endpoint, host string) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return "", ""
	}
	name := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if addr, err := netip.ParseAddr(name); err == nil {
		name = addr.Unmap().String()
	}
	port := u.Port()
	switch n, err := strconv.Atoi(port); {
	case err == nil:
		port = strconv.Itoa(n)
	case u.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	host = net.JoinHostPort(name, port)
	path := u.Path
	if path == "" {
		path = "/"
	}
	endpoint = u.Scheme + "://" + host + path
	if u.RawQuery != "" {
		endpoint += "?" + u.RawQuery
	}
	return endpoint, host
}

// RedactURL returns a URL as it may be shown: without a user, a password and
// the values of its query, any of which may be secret. For what is no URL it
// returns "(not a URL)", unless it is a plain word.
func RedactURL(raw string) string {
	u := shownURL(raw)
	switch {
	case u == nil:
		return unlessPlain(raw)
	case u.User == nil && u.RawQuery == "":
		return raw
	}
	if u.User != nil {
		u.User = url.User("redacted")
	}
	if u.RawQuery != "" {
		u.RawQuery = "redacted"
	}
	return u.String()
}

// WithoutSecrets returns a URL with everything but its password and what may be
// a token in its query, for those who need to tell URLs apart.
func WithoutSecrets(raw string) string {
	u := shownURL(raw)
	switch {
	case u == nil:
		return unlessPlain(raw)
	case u.User == nil && u.RawQuery == "":
		return raw
	}
	if _, has := u.User.Password(); has {
		u.User = url.UserPassword(u.User.Username(), "redacted")
	}
	if u.RawQuery != "" {
		parts := strings.Split(u.RawQuery, "&")
		for i, part := range parts {
			name, value, named := strings.Cut(part, "=")
			switch {
			case !named && len(part) >= tokenBytes:
				parts[i] = "redacted"
			case named && (len(value) >= tokenBytes || tokenName.MatchString(name)):
				parts[i] = name + "=redacted"
			}
		}
		u.RawQuery = strings.Join(parts, "&")
	}
	return u.String()
}

// What may be a token in a query: what is long, and what is called so.
const tokenBytes = 16

var tokenName = regexp.MustCompile(`(?i)token|secret|pass|pwd|key|auth|sig|code|cred|session|jwt`)

// shownURL returns a URL of which it is known where it may have secrets, or nil.
func shownURL(raw string) *url.URL {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme == "" || strings.Contains(u.Host, "@") {
		return nil
	}
	return u
}

// unlessPlain returns what is no URL if there is no room for a secret in it.
func unlessPlain(raw string) string {
	if strings.ContainsAny(raw, "@?:%") {
		return notURL
	}
	return raw
}

// WithoutURL returns what went wrong with a request without naming its URL.
func WithoutURL(err error) error {
	var urlErr *url.Error
	switch {
	case !errors.As(err, &urlErr):
		return err
	case urlErr.Op == "parse": // which repeats what it does not understand
		return errors.New("not a URL")
	}
	return urlErr.Err
}
