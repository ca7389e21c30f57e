package wire

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxURLBytes bounds a callback URL.
const maxURLBytes = 2048

// CheckHTTPURL accepts absolute http and https URLs with a host.
func CheckHTTPURL(raw string) error {
	const want = "want an absolute URL such as https://app.example.org/callbacks"
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
	return nil
}

// CheckCallbackURL is CheckHTTPURL with a bound on the length.
func CheckCallbackURL(raw string) error {
	if len(raw) > maxURLBytes {
		return fmt.Errorf("%d bytes, at most %d", len(raw), maxURLBytes)
	}
	return CheckHTTPURL(raw)
}

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
// the values of its query, any of which may be secret. What is no URL comes
// back as it is.
func RedactURL(raw string) string {
	if !strings.ContainsAny(raw, "@?") {
		return raw
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
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

// WithoutPassword returns a URL with everything but its password, for those
// who need to tell URLs apart.
func WithoutPassword(raw string) string {
	if !strings.Contains(raw, "@") {
		return raw
	}
	u, err := url.Parse(raw)
	if err != nil || u.User == nil {
		return raw
	}
	if _, has := u.User.Password(); has {
		u.User = url.UserPassword(u.User.Username(), "redacted")
	}
	return u.String()
}

// WithoutURL returns what went wrong with a request without naming its URL.
func WithoutURL(err error) error {
	var urlErr *url.Error
	if errors.As(err, &urlErr) {
		return urlErr.Err
	}
	return err
}
