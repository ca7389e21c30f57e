package auth

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
)

// Options say where credentials are and how they are kept. The zero value of
// each field means its default.
type Options struct {
	// ChannelPrefix is the app's own, as in toot.Options. Credentials lie
	// under it, at Realm(ChannelPrefix).
	ChannelPrefix string
	// Key replaces Realm(ChannelPrefix): in Redis, the key of the HASH.
	Key string
	// Original makes Add keep passwords as their SHA-256 alone, as the Ruby
	// original does, so that Ruby apps can verify them too. That is only as
	// strong as the password is random; passwords from Generate are random
	// and always kept like that. Default: argon2id.
	Original bool
	// Logger is told of each user who is added, changed or removed: by whom is in
	// the context of the call, if anywhere (toot.WithUser). Default
	// slog.Default().
	Logger *slog.Logger
	// Recheck is how long a password that was right is accepted without asking
	// the store, and so how long a user removed by another process may still
	// get in. Default 3 seconds; negative means that every request
	// looks.
	Recheck time.Duration
}

// Realm is where the credentials of an app lie unless Options.Key says
// otherwise; the same as in the Ruby original.
func Realm(channelPrefix string) string {
	return channelPrefix + "toot.auth.credentials_store"
}

// Limits to what is kept and looked at.
const (
	maxUsername = 256
	maxPassword = 1024
)

// ErrInvalid is returned for a user name or a password that can't be kept:
// one that is empty or too long, a user name with a colon, control
// characters.
var ErrInvalid = errors.New("auth: invalid credentials")

// Credentials are the users who may get in. Its methods may be called
// concurrently.
type Credentials struct {
	store    engine.Credentials
	realm    string
	original bool
	recheck  time.Duration
	log      *slog.Logger
	verified cache
	hashing  limiter
}

// NewCredentials returns the credentials kept in an engine, which must
// implement engine.Credentials, as all of toot's own do. opts may be nil.
func NewCredentials(eng engine.Engine, opts *Options) (*Credentials, error) {
	store, ok := eng.(engine.Credentials)
	if !ok {
		return nil, fmt.Errorf("auth: the engine (%T) keeps no credentials", eng)
	}
	if opts == nil {
		opts = &Options{}
	}
	c := &Credentials{store: store, realm: opts.Key, original: opts.Original, recheck: opts.Recheck, log: opts.Logger}
	if c.log == nil {
		c.log = slog.Default()
	}
	if c.realm == "" {
		c.realm = Realm(opts.ChannelPrefix)
	}
	if c.recheck == 0 {
		c.recheck = 3 * time.Second
	}
	c.verified.init()
	c.hashing.init()
	return c, nil
}

// Add lets a user in. One of that name gets the new password.
func (c *Credentials) Add(ctx context.Context, username, password string) error {
	if err := check(username, password); err != nil {
		return err
	}
	proof := original(password)
	if !c.original {
		proof = strong(password)
	}
	return c.put(ctx, username, proof)
}

// AddWith adds a user with these rights. At no moment does the user have more.
func (c *Credentials) AddWith(ctx context.Context, username, password string, rights Rights) error {
	if err := check(username, password); err != nil {
		return err
	}
	if err := c.Grant(ctx, username, rights); err != nil {
		return err
	}
	return c.Add(ctx, username, password)
}

// Generate adds a user whose name is name and 32 hexadecimal digits, with a
// password of 32 more. It is the only time that the password can be seen.
func (c *Credentials) Generate(ctx context.Context, name string) (username, password string, err error) {
	username, password = name+digits(), digits()
	if name == "" {
		return "", "", fmt.Errorf("%w: the name is empty", ErrInvalid)
	}
	if err := check(username, password); err != nil {
		return "", "", err
	}
	// 128 random bits: there is nothing to guess, so a hash that is slow adds
	// nothing, and the original's form serves Ruby apps too.
	return username, password, c.put(ctx, username, original(password))
}

func digits() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

func (c *Credentials) put(ctx context.Context, username string, proof []byte) error {
	defer c.verified.expire()
	if err := c.store.PutCredential(ctx, c.realm, username, proof); err != nil {
		return fmt.Errorf("auth: add %q: %w", username, err)
	}
	c.note(ctx, "auth: a user has a new password", username)
	return nil
}

// note logs what was done about a user, and by whom if that is known.
func (c *Credentials) note(ctx context.Context, what, username string) {
	args := []any{"username", username, "realm", c.realm}
	if by := toot.UserOf(ctx); by != nil && by.Name != "" {
		args = append(args, "user", by.Name)
	}
	c.log.Info(what, args...)
}

// exists reports whether there is a user of a name.
func (c *Credentials) exists(ctx context.Context, username string) (bool, error) {
	proof, err := c.store.Credential(ctx, c.realm, username)
	return proof != nil, err
}

// Remove removes a user, and reports whether there was one of
// that name. Other processes let the user in for up to Options.Recheck.
func (c *Credentials) Remove(ctx context.Context, username string) (removed bool, err error) {
	defer c.verified.expire()
	if username == "" {
		return false, nil
	}
	if removed, err = c.store.RemoveCredential(ctx, c.realm, username); err != nil {
		return false, fmt.Errorf("auth: remove %q: %w", username, err)
	}
	if removed {
		c.note(ctx, "auth: a user was removed", username)
	}
	return removed, c.Grant(ctx, username, Rights{})
}

// List returns the user names in ascending order.
func (c *Credentials) List(ctx context.Context) ([]string, error) {
	names, err := c.store.Usernames(ctx, c.realm)
	if err != nil {
		return nil, fmt.Errorf("auth: list: %w", err)
	}
	return names, nil
}

func check(username, password string) error {
	switch {
	case username == "" || password == "":
		return fmt.Errorf("%w: an empty user name or password", ErrInvalid)
	case len(username) > maxUsername || len(password) > maxPassword:
		return fmt.Errorf("%w: a user name has at most %d bytes, a password %d", ErrInvalid, maxUsername, maxPassword)
	case strings.ContainsRune(username, ':'):
		return fmt.Errorf("%w: a user name can't have a colon in it", ErrInvalid)
	case strings.ContainsFunc(username+password, isControl):
		return fmt.Errorf("%w: control characters", ErrInvalid)
	}
	return nil
}

func isControl(r rune) bool {
	return r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029
}
