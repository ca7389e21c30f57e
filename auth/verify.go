package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
)

// ErrBusy is returned by Verify when more passwords are waiting to be checked than
// the process is willing to spend its time on.
var ErrBusy = errors.New("auth: too many passwords to check at the moment")

// verifyTimeout bounds a look at the store that several requests wait for.
const verifyTimeout = 10 * time.Second

// Verify reports whether a user has that password. A user or password that is
// empty never passes. An error means that it could not be found out.
func (c *Credentials) Verify(ctx context.Context, username, password string) (bool, error) {
	_, ok, err := c.lookup(ctx, "", username, password)
	return ok, err
}

// lookup is Verify for a request from an address, and returns what the user may
// do.
func (c *Credentials) lookup(ctx context.Context, from, username, password string) (Rights, bool, error) {
	if username == "" || password == "" || len(username) > maxUsername || len(password) > maxPassword {
		return Rights{}, false, nil
	}
	key := c.verified.key(username, password)
	if rights, ok := c.verified.fresh(key, time.Now()); ok {
		return rights, true, nil
	}
	// Requests with the same credentials share one look at the store and one
	// slow hash.
	done := c.verified.flights.DoChan(string(key[:]), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), verifyTimeout)
		defer cancel()
		return c.verify(ctx, key, from, username, password)
	})
	select {
	case r := <-done:
		rights, ok := r.Val.(*Rights)
		if r.Err != nil || !ok || rights == nil {
			return Rights{}, false, r.Err
		}
		return *rights, true, nil
	case <-ctx.Done():
		return Rights{}, false, context.Cause(ctx)
	}
}

// verify returns what a user may do; nil for one who has not that password.
func (c *Credentials) verify(ctx context.Context, key cacheKey, from, username, password string) (*Rights, error) {
	epoch := c.verified.epoch.Load()
	proof, err := c.store.Credential(ctx, c.realm, username)
	if err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	proven := sha256.Sum256(proof)
	if proof == nil || !c.verified.proved(key, proven) {
		ok, err := c.matches(ctx, from, proof, password)
		if !ok || err != nil {
			return nil, err
		}
	}
	rights, err := c.Rights(ctx, username)
	if err != nil {
		return nil, err
	}
	if c.recheck > 0 {
		c.verified.keep(key, verified{proof: proven, rights: rights, until: time.Now().Add(c.recheck)}, epoch)
	}
	return &rights, nil
}

// nobody is what a password is held against that is wrong without having taken
// long to find out: that of nobody, or of a user whose password is kept in the
// original's form. So all wrong passwords take as long.
var nobody = sync.OnceValue(func() []byte { return strong(digits()) })

func (c *Credentials) matches(ctx context.Context, from string, proof []byte, password string) (bool, error) {
	quick := proof == nil || isOriginal(proof)
	if quick {
		if proof != nil && matchesOriginal(proof, password) {
			return true, nil
		}
		proof = nobody()
	}
	h, err := parsePHC(proof)
	if err != nil {
		return false, err
	}
	if err := c.hashing.enter(ctx, from); err != nil {
		return false, err
	}
	defer c.hashing.leave()
	return h.matches(password) && !quick, nil
}

// cacheKey stands for a user name and a password. It is a hash under a key
// that only this process knows, so that nothing is gained from its memory
// but by guessing with that key.
type cacheKey [sha256.Size]byte

// cache remembers credentials that were right.
type cache struct {
	secret  [32]byte
	flights singleflight.Group
	epoch   atomic.Int64 // counts expire

	mu  sync.RWMutex
	all map[cacheKey]verified
}

type verified struct {
	proof  [sha256.Size]byte // hash of what was stored
	rights Rights
	until  time.Time
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
func (c *cache) fresh(key cacheKey, now time.Time) (Rights, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	v, ok := c.all[key]
	return v.rights, ok && now.Before(v.until)
}

// proved reports credentials that were right when the same was stored.
func (c *cache) proved(key cacheKey, proof [sha256.Size]byte) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	v, ok := c.all[key]
	return ok && v.proof == proof
}

// keep remembers what was found out since an epoch, unless that is over.
func (c *cache) keep(key cacheKey, v verified, epoch int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epoch.Load() != epoch {
		return
	}
	if len(c.all) >= cacheMax {
		clear(c.all)
	}
	c.all[key] = v
}

// expire has the store asked again about all of them. Those of whom it says the
// same need not be hashed again.
func (c *cache) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch.Add(1)
	for key, v := range c.all {
		v.until = time.Time{}
		c.all[key] = v
	}
}
