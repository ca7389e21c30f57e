package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
)

// ErrBusy is returned by Verify when more passwords wait to be checked than
// the process is willing to spend its time on.
var ErrBusy = errors.New("auth: too many passwords to check at the moment")

// verifyTimeout bounds a look at the store that several requests wait for.
const verifyTimeout = 10 * time.Second

// Verify reports whether a user has that password. A user or password that is
// empty never passes. An error means that it could not be found out.
func (c *Credentials) Verify(ctx context.Context, username, password string) (bool, error) {
	if username == "" || password == "" || len(username) > maxUsername || len(password) > maxPassword {
		return false, nil
	}
	key := c.verified.key(username, password)
	if c.verified.fresh(key, time.Now()) {
		return true, nil
	}
	// Requests with the same credentials share one look at the store and one
	// slow hash.
	done := c.verified.flights.DoChan(string(key[:]), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), verifyTimeout)
		defer cancel()
		return c.verify(ctx, key, username, password)
	})
	select {
	case r := <-done:
		return r.Err == nil && r.Val.(bool), r.Err
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

func (c *Credentials) verify(ctx context.Context, key cacheKey, username, password string) (bool, error) {
	epoch := c.verified.epoch.Load()
	proof, err := c.store.Credential(ctx, c.realm, username)
	if err != nil {
		return false, fmt.Errorf("auth: %w", err)
	}
	proven := sha256.Sum256(proof)
	if proof == nil || !c.verified.proved(key, proven) {
		ok, err := c.matches(ctx, proof, password)
		if !ok || err != nil {
			return false, err
		}
	}
	if c.recheck > 0 {
		c.verified.keep(key, proven, time.Now().Add(c.recheck), epoch)
	}
	return true, nil
}

// nobody is what a password is held against where there is no such user, so
// that it takes as long as with one whose password was chosen. The names of
// generated users can't be guessed anyway.
var nobody = sync.OnceValue(func() []byte { return strong(digits()) })

func (c *Credentials) matches(ctx context.Context, proof []byte, password string) (bool, error) {
	unknown := proof == nil
	if unknown {
		proof = original("")
		if !c.original {
			proof = nobody()
		}
	}
	if isOriginal(proof) {
		return matchesOriginal(proof, password) && !unknown, nil
	}
	h, err := parsePHC(proof)
	if err != nil {
		return false, err
	}
	if err := c.hashing.enter(ctx); err != nil {
		return false, err
	}
	defer c.hashing.leave()
	return h.matches(password) && !unknown, nil
}

// cacheKey stands for a user name and a password. It is a hash under a key
// that only this process knows, so that nothing is gained from its memory
// but by guessing with that key.
type cacheKey [sha256.Size]byte

// cache remembers credentials that were right.
type cache struct {
	secret  [32]byte
	flights singleflight.Group
	epoch   atomic.Int64 // counts clear

	mu  sync.RWMutex
	all map[cacheKey]verified
}

type verified struct {
	proof [sha256.Size]byte // hash of what was stored
	until time.Time
}

// cacheMax bounds the memory of the cache, about 150 bytes each.
const cacheMax = 4096

func (c *cache) init() {
	_, _ = rand.Read(c.secret[:]) // never fails
	c.all = map[cacheKey]verified{}
}

func (c *cache) key(username, password string) (key cacheKey) {
	var length [4]byte
	binary.BigEndian.PutUint32(length[:], uint32(len(username))) //nolint:gosec // at most maxUsername
	h := hmac.New(sha256.New, c.secret[:])
	h.Write(length[:])
	h.Write([]byte(username))
	h.Write([]byte(password))
	h.Sum(key[:0])
	return key
}

// fresh reports credentials that were right a moment ago.
func (c *cache) fresh(key cacheKey, now time.Time) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	v, ok := c.all[key]
	return ok && now.Before(v.until)
}

// proved reports credentials that were right when the same was stored.
func (c *cache) proved(key cacheKey, proof [sha256.Size]byte) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	v, ok := c.all[key]
	return ok && v.proof == proof
}

// keep remembers what was found out since an epoch, unless that is over.
func (c *cache) keep(key cacheKey, proof [sha256.Size]byte, until time.Time, epoch int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epoch.Load() != epoch {
		return
	}
	if len(c.all) >= cacheMax {
		clear(c.all)
	}
	c.all[key] = verified{proof, until}
}

func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch.Add(1)
	clear(c.all)
}

// limiter bounds how much of the machine goes into slow hashes: strangers can
// make us compute them.
type limiter struct {
	running chan struct{}
	waiting atomic.Int64
}

// maxWaiting is how many requests wait for their turn. The next is refused.
const maxWaiting = 64

func (l *limiter) init() {
	l.running = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))
}

func (l *limiter) enter(ctx context.Context) error {
	defer l.waiting.Add(-1)
	if l.waiting.Add(1) > maxWaiting {
		return ErrBusy
	}
	select {
	case l.running <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *limiter) leave() { <-l.running }
