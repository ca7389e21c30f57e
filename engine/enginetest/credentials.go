package enginetest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/watermarkchurch/toot-go/engine"
)

var credentialChecks = []check{
	{"keep_every_byte", credentials, credentialsBytes},
	{"are_replaced", credentials, credentialsReplaced},
	{"are_removed_once", credentials, credentialsRemoved},
	{"are_listed_in_order", credentials, credentialsListed},
	{"belong_to_one_realm", credentials, credentialsRealms},
	{"without_a_name_are_refused", credentials, credentialsInvalid},
	{"are_no_channels", credentials, credentialsNoChannels},
	{"are_shared_and_survive", credentials | sharing, credentialsShared},
}

const realm = "org.example.toot.auth.credentials_store"

// keeper is a client of engine.Credentials.
type keeper struct {
	*client
	engine.Credentials
}

// keep opens an engine that implements one of the optional interfaces.
func keep[T any](e *env) (c *client, it T) {
	e.Helper()
	c = e.open()
	it, ok := c.Engine.(T)
	if !ok {
		e.Fatalf("the engine must implement %T, or the harness say that it does not", *new(T))
	}
	return c, it
}

func (e *env) openCredentials() keeper {
	e.Helper()
	c, k := keep[engine.Credentials](e)
	return keeper{c, k}
}

func (k keeper) put(realm, username, proof string) {
	k.e.Helper()
	if err := k.PutCredential(k.e.ctx, realm, username, []byte(proof)); err != nil {
		k.e.Fatalf("PutCredential(%q, %q): %v", realm, username, err)
	}
}

func (k keeper) knows(rule, realm, username, proof string) {
	k.e.Helper()
	got, err := k.Credential(k.e.ctx, realm, username)
	if err != nil {
		k.e.Fatalf("Credential(%q, %q): %v", realm, username, err)
	}
	if string(got) != proof || proof == "" && got != nil {
		k.e.Fatalf("%s: Credential(%q, %q) is %q, want %q", rule, realm, username, got, proof)
	}
}

func (k keeper) lists(rule, realm string, names ...string) {
	k.e.Helper()
	got, err := k.Usernames(k.e.ctx, realm)
	if err != nil {
		k.e.Fatalf("Usernames(%q): %v", realm, err)
	}
	if !slices.Equal(got, names) {
		k.e.Fatalf("%s: Usernames(%q) is %q, want %q", rule, realm, got, names)
	}
}

func (k keeper) drop(realm, username string, want bool) {
	k.e.Helper()
	removed, err := k.RemoveCredential(k.e.ctx, realm, username)
	if err != nil || removed != want {
		k.e.Fatalf("RemoveCredential must report whether the user was there: got %v, %v for %q", removed, err, username)
	}
}

// everyByte has each of them, and is no UTF-8.
var everyByte = func() string {
	var b []byte
	for i := range 256 {
		b = append(b, byte(i))
	}
	return string(b) + "\x00"
}()

func credentialsBytes(e *env) {
	a := e.openCredentials()
	a.put(realm, "user", everyByte)
	a.knows("a proof must be kept byte for byte", realm, "user", everyByte)
	for _, s := range strange {
		a.put(realm+s, "user "+s, "proof "+s)
	}
	for _, s := range strange {
		a.knows("realms and user names may have any characters", realm+s, "user "+s, "proof "+s)
		a.drop(realm+s, "user "+s, true)
	}
}

func credentialsReplaced(e *env) {
	a := e.openCredentials()
	a.knows("a user that nobody knows has no proof", realm, "user", "")
	a.put(realm, "user", "first, a long one")
	a.put(realm, "user", "second")
	a.knows("a proof replaces the one before", realm, "user", "second")
	a.lists("a user whose proof was replaced is there once", realm, "user")
}

func credentialsRemoved(e *env) {
	a := e.openCredentials()
	a.drop(realm, "user", false)
	a.put(realm, "user", "proof")
	a.put(realm, "other", "proof")
	a.drop(realm, "user", true)
	a.knows("a user is gone when RemoveCredential returned", realm, "user", "")
	a.knows("other users stay", realm, "other", "proof")
	a.drop(realm, "user", false)
	a.lists("a user is gone when RemoveCredential returned", realm, "other")
	a.drop(realm, "other", true)
	a.lists("a realm whose users were removed has none", realm)
}

func credentialsListed(e *env) {
	a := e.openCredentials()
	a.lists("a realm that nobody knows has no users", realm)
	var want []string
	for i := range 50 {
		name := fmt.Sprintf("user%02d", (i*37)%50)
		a.put(realm, name, "proof")
		want = append(want, name)
	}
	slices.Sort(want)
	a.lists("user names are in ascending order", realm, want...)
}

func credentialsRealms(e *env) {
	a := e.openCredentials()
	a.put("one", "a:user", "proof 1")
	a.put("one:a", "user", "proof 2")
	a.put("two", "user", "proof 3")
	a.knows("a user belongs to one realm", "one", "a:user", "proof 1")
	a.knows("a user belongs to one realm", "one:a", "user", "proof 2")
	a.knows("a user belongs to one realm", "one", "user", "")
	a.lists("a user belongs to one realm", "two", "user")
	a.drop("two", "user", true)
	a.lists("a user is removed from one realm", "one:a", "user")
}

func credentialsInvalid(e *env) {
	a := e.openCredentials()
	ctx := e.ctx
	for what, call := range map[string]func() error{
		"a put without realm":      func() error { return a.PutCredential(ctx, "", "user", []byte("proof")) },
		"a put without user name":  func() error { return a.PutCredential(ctx, realm, "", []byte("proof")) },
		"a put without proof":      func() error { return a.PutCredential(ctx, realm, "user", nil) },
		"a removal without name":   func() error { _, err := a.RemoveCredential(ctx, realm, ""); return err },
		"a look without user name": func() error { _, err := a.Credential(ctx, realm, ""); return err },
		"a listing without realm":  func() error { _, err := a.Usernames(ctx, ""); return err },
	} {
		if err := call(); !errors.Is(err, engine.ErrInvalid) {
			e.Errorf("%s must be ErrInvalid: got %v", what, err)
		}
	}
	a.lists("what is invalid is not kept", realm)
}

func credentialsNoChannels(e *env) {
	a := e.openCredentials()
	a.put("org.example.toot.auth.credentials_store", "https://user.example.org", "proof")
	a.add("org.example.users", url1, true)
	if all := a.channels("org.example."); len(all) != 1 || !slices.Equal(all["org.example.users"], []string{url1}) {
		e.Errorf("Channels must not list credentials: got %q", all)
	}
}

func credentialsShared(e *env) {
	a, b := e.openCredentials(), e.openCredentials()
	b.knows("a user that nobody knows has no proof", realm, "user", "")
	a.put(realm, "user", "proof")
	b.knows("what another engine put is there at once", realm, "user", "proof")
	a.drop(realm, "user", true)
	b.knows("what another engine removed is gone at once", realm, "user", "")
	a.put(realm, "user", "again")
	a.close()
	b.close()
	e.openCredentials().knows("credentials survive", realm, "user", "again")
}
