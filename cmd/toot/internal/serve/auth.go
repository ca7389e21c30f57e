package serve

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"

	"github.com/watermarkchurch/toot-go/internal/wire"
)

// Guard lets requests pass that have one of its credentials. A guard without
// any lets everybody pass.
type Guard struct {
	spec    string
	current atomic.Pointer[[]credential]
}

// credential is a name and a password, or a token without a name, hashed so
// that comparing takes the same time whatever they are.
type credential struct {
	basic  bool
	name   [sha256.Size]byte
	secret [sha256.Size]byte
}

// NewGuard reads credentials: "name:password" for Basic authentication, a
// word without a colon for a Bearer token, several separated by commas.
// "@PATH" stands for a file with one a line.
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
	name, password, basic := strings.Cut(text, ":")
	if !basic {
		return credential{secret: sha256.Sum256([]byte(text))}, nil
	}
	if name == "" || password == "" {
		return credential{}, errors.New("a credential is name:password or a token, with nothing empty")
	}
	return credential{true, sha256.Sum256([]byte(name)), sha256.Sum256([]byte(password))}, nil
}

// Open reports that everybody may pass.
func (g *Guard) Open() bool { return len(*g.current.Load()) == 0 }

// Around puts the guard in front of a handler.
func (g *Guard) Around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.pass(r) {
			w.Header().Set("WWW-Authenticate", `Basic realm="Toot Auth", charset="UTF-8"`)
			wire.Problem(w, http.StatusUnauthorized, "Expected credentials that are known here: Authorization: Basic … or Bearer …")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (g *Guard) pass(r *http.Request) bool {
	list := *g.current.Load()
	if len(list) == 0 {
		return true
	}
	var given credential
	if name, password, ok := r.BasicAuth(); ok {
		given = credential{true, sha256.Sum256([]byte(name)), sha256.Sum256([]byte(password))}
	} else if token, ok := bearer(r); ok {
		given = credential{secret: sha256.Sum256([]byte(token))}
	} else {
		return false
	}
	found := 0
	for i := range list { // all of them, so that the time does not tell which one was near
		c := &list[i]
		same := subtle.ConstantTimeCompare(c.name[:], given.name[:]) & subtle.ConstantTimeCompare(c.secret[:], given.secret[:])
		if c.basic == given.basic {
			found |= same
		}
	}
	return found == 1
}

func bearer(r *http.Request) (token string, ok bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(token), ok && strings.EqualFold(scheme, "Bearer")
}
