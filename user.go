package toot

import (
	"context"
	"net/http"
	"strings"
)

// User is who sends a request, as established by the middleware in front of a
// service: auth.Credentials.BasicAuth, or one of your own that calls WithUser.
type User struct {
	// Name tells users apart. A registration belongs to the user who made it.
	// Empty: a user who can't be told apart from others, to whom none belongs.
	Name string
	// Operator says that the user may see and remove everybody's registrations.
	Operator bool
	// Prefixes limit the user to channels whose full names begin with one of
	// them; none means all channels.
	Prefixes []string
	// Exists reports whether a user of that name still exists. Registrations of a
	// user who no longer exists may be removed by anybody. It is called
	// concurrently. If it is nil, every user is taken to exist.
	Exists func(ctx context.Context, name string) (bool, error)
}

// May reports whether the user is allowed to use a channel, given by its full name.
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

// WithUser returns a context for a request that a user sends.
func WithUser(ctx context.Context, u User) context.Context {
	return context.WithValue(ctx, userKey{}, &u)
}

// UserOf returns the user who sends a request, given the request's context; nil if
// that was not established, as where there are no credentials.
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
