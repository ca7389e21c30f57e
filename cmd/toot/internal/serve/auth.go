package serve

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/internal/wire"
)

// Guard lets requests pass that have one of its credentials. A guard without
// any lets everybody pass.
type Guard struct {
	spec    string
	current atomic.Pointer[[]credential]
}

// credential is a name and a password or token, hashed so that comparing takes
// the same time whatever they are.
type credential struct {
	basic  bool
	name   [sha256.Size]byte // of a password; a token is known without
	secret [sha256.Size]byte
	user   toot.User
	// keys is what tells the Idempotency-Keys of one from those of another.
	keys string
}

// NewGuard reads credentials: "name:password" for Basic authentication,
// "name=token" or a token alone for a Bearer token, several separated by commas.
// "@PATH" stands for a file with one a line. Behind a credential and a space
// there may be what it is for: "operator", "prefix=CHANNEL_PREFIX", several of
// them.
func NewGuard(spec string) (*Guard, error) {
	g := &Guard{spec: spec}
	return g, g.Reload()
}

// Reload reads the files again that the credentials come from. On an error
// the old ones stay.
func (g *Guard) Reload() error {
	var list []credential
	for _, item := range strings.Split(g.spec, ",") {
		item = strings.TrimSpace(item)
		path, isFile := strings.CutPrefix(item, "@")
		switch {
		case item == "":
		case isFile:
			lines, err := os.ReadFile(path) //nolint:gosec // G304: the operator names the file
			if err != nil {
				return fmt.Errorf("can't read credentials: %w", err)
			}
			before := len(list)
			for n, line := range strings.Split(string(lines), "\n") {
				line = strings.TrimSpace(line)
				if line == "" || strings.HasPrefix(line, "#") {
					continue
				}
				c, err := parseCredential(line)
				if err != nil {
					return fmt.Errorf("%s, line %d: %w", path, n+1, err)
				}
				list = append(list, c)
			}
			if len(list) == before { // to let everybody pass is nothing to do by accident
				return fmt.Errorf("%s has no credentials in it", path)
			}
		default:
			c, err := parseCredential(item)
			if err != nil {
				return err
			}
			list = append(list, c)
		}
	}
	g.current.Store(&list)
	return nil
}

func parseCredential(text string) (credential, error) {
	text, user, err := parseRights(text)
	if err != nil {
		return credential{}, err
	}
	c := credential{user: user}
	// Base64 may end with =, so a token with nothing but that behind it has no name.
	name, token, named := strings.Cut(text, "=")
	named = named && strings.Trim(token, "=") != ""
	if colon := strings.IndexByte(text, ':'); colon >= 0 && (!named || colon < len(name)) {
		c.basic, name, token, named = true, text[:colon], text[colon+1:], true
	}
	switch {
	case !named:
		c.secret = sha256.Sum256([]byte(text))
		c.keys = string(c.secret[:])
	case name == "" || token == "":
		return credential{}, errors.New("a credential is name:password, name=token or a token, and no part of it may be empty")
	default:
		c.user.Name, c.secret = name, sha256.Sum256([]byte(token))
		c.keys = name
	}
	if c.basic {
		c.name = sha256.Sum256([]byte(name))
	}
	return c, nil
}

// parseRights cuts off what stands behind a credential.
func parseRights(text string) (rest string, user toot.User, err error) {
	for {
		at := strings.LastIndexAny(text, " \t")
		word := text[at+1:]
		prefix, isPrefix := strings.CutPrefix(word, "prefix=")
		switch {
		case at < 0:
			return text, user, nil
		case word == "operator":
			user.Operator = true
		case isPrefix && prefix == "":
			return "", user, errors.New("prefix= behind a credential needs a prefix")
		case isPrefix:
			user.Prefixes = append(user.Prefixes, prefix)
		default:
			return text, user, nil
		}
		text = strings.TrimRight(text[:at], " \t")
	}
}

// Open reports that everybody may pass.
func (g *Guard) Open() bool { return len(*g.current.Load()) == 0 }

// Around puts the guard in front of a handler, which finds in the request's
// context who made it.
func (g *Guard) Around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.Open() {
			next.ServeHTTP(w, r)
			return
		}
		c := g.find(r)
		if c == nil {
			w.Header().Set("WWW-Authenticate", `Basic realm="Toot Auth", charset="UTF-8"`)
			wire.Problem(w, http.StatusUnauthorized, "Expected credentials that are known here: Authorization: Basic … or Bearer …")
			return
		}
		user := c.user
		user.Exists = g.exists
		ctx := context.WithValue(toot.WithUser(r.Context(), user), keysOf{}, c.keys)
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

type keysOf struct{}

// find returns the credential that a request has, if it is known.
func (g *Guard) find(r *http.Request) *credential {
	var given credential
	if name, password, ok := r.BasicAuth(); ok {
		given = credential{basic: true, name: sha256.Sum256([]byte(name)), secret: sha256.Sum256([]byte(password))}
	} else if token, ok := bearer(r); ok {
		given = credential{secret: sha256.Sum256([]byte(token))}
	} else {
		return nil
	}
	var found *credential
	list := *g.current.Load()
	for i := range list { // all of them, so that the time does not tell which one was near
		c := &list[i]
		same := subtle.ConstantTimeCompare(c.name[:], given.name[:]) & subtle.ConstantTimeCompare(c.secret[:], given.secret[:])
		if c.basic == given.basic && same == 1 && found == nil {
			found = c
		}
	}
	return found
}

// exists reports whether there is a credential of a name.
func (g *Guard) exists(_ context.Context, name string) (bool, error) {
	for _, c := range *g.current.Load() {
		if c.user.Name == name {
			return true, nil
		}
	}
	return false, nil
}

func bearer(r *http.Request) (token string, ok bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(token), ok && strings.EqualFold(scheme, "Bearer")
}
