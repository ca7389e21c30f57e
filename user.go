package toot

import (
	"context"
	"net/http"
	"strings"
)

// User is who sends a request, as found out by what stands in front of a
// service: auth.Credentials.BasicAuth, or a middleware of one's own that calls
// WithUser.
type User struct {
	// Name tells users apart. A registration belongs to the user who made it.
	// Empty: one who can't be told from others, to whom none belongs.
	Name string
	// Operator says that the user may see and remove everybody's registrations.
	Operator bool
	// Prefixes are those of the channels that the user may have to do with,
	// full names; none means all.
	Prefixes []string
	// Exists reports whether there is still a user of a name. Registrations of
	// one that is gone may be removed by anybody. It is called concurrently. If
	// it is nil, users are never gone.
	Exists func(ctx context.Context, name string) (bool, error)
}

// May reports whether the user may have to do with a channel.
func (u *User) May(channel string) bool {
	return len(u.Prefixes) == 0 || hasPrefix(channel, u.Prefixes)
}

// hasPrefix reports whether a channel's full name has one of the prefixes, of
// which "*" stands for any.
func hasPrefix(channel string, prefixes []string) bool {
	for _, p := range prefixes {
		if p == "*" || strings.HasPrefix(channel, p) {
			return true
		}
	}
	return false
}

type userKey struct{}

// WithUser returns the context of a request of a user's.
func WithUser(ctx context.Context, u User) context.Context {
	return context.WithValue(ctx, userKey{}, &u)
}

// UserOf returns who makes a request, by its context; nil if nobody has found
// that out: there are no credentials then.
func UserOf(ctx context.Context) *User {
	u, _ := ctx.Value(userKey{}).(*User)
	return u
}

// origin is what the log says of who makes a request.
func origin(r *http.Request) []any {
	return append(doneBy(r.Context()), "from", r.RemoteAddr)
}

// doneBy is what the log says of whose doing something is.
func doneBy(ctx context.Context) []any {
	if u := UserOf(ctx); u != nil && u.Name != "" {
		return []any{"user", u.Name}
	}
	return nil
}
