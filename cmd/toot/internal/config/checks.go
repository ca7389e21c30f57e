package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Duration wants a positive duration such as 15s or 2h.
func Duration(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is not a duration such as 15s or 2h", text)
	}
	return nil
}

// OptionalSeconds wants a duration of a second at least, or nothing.
func OptionalSeconds(text string) error {
	if text == "" {
		return nil
	}
	if d, err := time.ParseDuration(text); err != nil || d < time.Second {
		return fmt.Errorf("%q is not a duration of a second or more, such as 24h", text)
	}
	return nil
}

// Count wants a whole number above zero.
func Count(text string) error {
	if n, err := strconv.Atoi(text); err != nil || n < 1 {
		return fmt.Errorf("%q is not a whole number above zero", text)
	}
	return nil
}

// CountOrZero wants a whole number that is not negative.
func CountOrZero(text string) error {
	if n, err := strconv.Atoi(text); err != nil || n < 0 {
		return fmt.Errorf("%q is not a whole number, or is negative", text)
	}
	return nil
}

// Rate wants a number that is not negative.
func Rate(text string) error {
	if r, err := strconv.ParseFloat(text, 64); err != nil || !(r >= 0 && r <= 1e9) {
		return fmt.Errorf("%q is not a number of requests per second", text)
	}
	return nil
}

// OneOf wants one of some words.
func OneOf(words ...string) func(string) error {
	return func(text string) error {
		if !slices.Contains(words, text) {
			return fmt.Errorf("%q is not one of %s", text, strings.Join(words, ", "))
		}
		return nil
	}
}

// Address wants host:port, of which the host may be empty.
func Address(text string) error {
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return fmt.Errorf("%q is not an address such as 127.0.0.1:8080 or :8080", text)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q has no port from 0 to 65535", text)
	}
	return nil
}

// Hosts wants hosts separated by commas, or nothing.
func Hosts(text string) error {
	for _, host := range List(text) {
		if _, err := netip.ParseAddr(host); err != nil && strings.ContainsAny(host, "/:@ ") {
			return fmt.Errorf("%q is not a host such as shop.internal or *.internal", host)
		}
	}
	return nil
}

// List splits a list at its commas and leaves out what is empty.
func List(text string) []string {
	var list []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}

// OptionalURL wants an absolute http or https URL, or nothing.
func OptionalURL(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return errors.New("it is not a URL such as https://toot.example.org")
	}
	return nil
}

// Optional wants what check wants, or nothing.
func Optional(check func(string) error) func(string) error {
	return func(text string) error {
		if text == "" {
			return nil
		}
		return check(text)
	}
}

// MustDuration is the value of a setting that Duration has checked; 0 if it may
// be empty, and is.
func (vs Values) MustDuration(name string) time.Duration {
	if vs.Get(name) == "" {
		return 0
	}
	d, err := time.ParseDuration(vs.Get(name))
	if err != nil {
		panic(err)
	}
	return d
}

// OptionalDuration is the value of a setting that OptionalSeconds has checked:
// 0 if there is none.
func (vs Values) OptionalDuration(name string) time.Duration {
	if vs.Get(name) == "" {
		return 0
	}
	return vs.MustDuration(name)
}

// OptionalURL is the value of a setting that OptionalURL has checked: nil if
// there is none.
func (vs Values) OptionalURL(name string) *url.URL {
	if vs.Get(name) == "" {
		return nil
	}
	u, err := url.Parse(vs.Get(name))
	if err != nil {
		panic(err)
	}
	return u
}

// MustCount is the value of a setting that Count or CountOrZero has checked; 0 if it may be
// empty, and is.
func (vs Values) MustCount(name string) int {
	if vs.Get(name) == "" {
		return 0
	}
	n, err := strconv.Atoi(vs.Get(name))
	if err != nil {
		panic(err)
	}
	return n
}

// MustRate is the value of a setting that Rate has checked.
func (vs Values) MustRate(name string) float64 {
	r, err := strconv.ParseFloat(vs.Get(name), 64)
	if err != nil {
		panic(err)
	}
	return r
}

// On reports whether a switch is on.
func (vs Values) On(name string) bool { return vs.Get(name) == "true" }
