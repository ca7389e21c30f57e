package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

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

var attributeChecks = []check{
	{"keep_every_byte", attributes, attributesBytes},
	{"are_swapped_only_for_what_was_there", attributes, attributesSwap},
	{"swapped_by_many_at_once_lose_nothing", attributes, attributesRace},
	{"are_deleted", attributes, attributesDeleted},
	{"belong_to_one_group", attributes, attributesGroups},
	{"without_a_name_are_refused", attributes, attributesInvalid},
	{"are_no_channels", attributes, attributesNoChannels},
	{"are_shared_and_survive", attributes | sharing, attributesShared},
}

const realm = "org.example.toot.auth.credentials_store"

// keeper is a client of one of the optional interfaces.
type keeper struct {
	*client
	engine.Credentials
	attributes engine.Attributes
}

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
	return keeper{client: c, Credentials: k}
}

func (e *env) openAttributes() keeper {
	e.Helper()
	c, k := keep[engine.Attributes](e)
	return keeper{client: c, attributes: k}
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

func (k keeper) swap(group, name, old, value string, want bool) {
	k.e.Helper()
	swapped, err := k.attributes.SwapAttribute(k.e.ctx, group, name, []byte(old), []byte(value), 0)
	if err != nil || swapped != want {
		k.e.Fatalf("SwapAttribute(%q, %q, %q, %q) must set exactly if the value was the old one: got %v, %v", group, name, old, value, swapped, err)
	}
}

func (k keeper) holds(rule, group string, namesAndValues ...string) {
	k.e.Helper()
	got, err := k.attributes.Attributes(k.e.ctx, group)
	if err != nil {
		k.e.Fatalf("Attributes(%q): %v", group, err)
	}
	if len(got) != len(namesAndValues)/2 {
		k.e.Fatalf("%s: Attributes(%q) is %v, want %q", rule, group, got, namesAndValues)
	}
	for i := 0; i < len(namesAndValues); i += 2 {
		if v := namesAndValues[i+1]; !bytes.Equal(got[namesAndValues[i]].Value, []byte(v)) {
			k.e.Fatalf("%s: attribute %q of %q is %q, want %q", rule, namesAndValues[i], group, got[namesAndValues[i]].Value, v)
		}
	}
}

func attributesBytes(e *env) {
	a := e.openAttributes()
	a.holds("a group that nobody knows has no attributes", "group")
	a.swap("group", "name", "", everyByte, true)
	a.holds("an attribute must be kept byte for byte", "group", "name", everyByte)
	a.swap("group", "name", everyByte, "other", true)
	for _, s := range strange {
		a.swap("group "+s, s, "", "value "+s, true)
	}
	for _, s := range strange {
		a.holds("groups and names may have any characters", "group "+s, s, "value "+s)
	}
}

func attributesSwap(e *env) {
	a := e.openAttributes()
	a.swap("group", "name", "one", "two", false)
	a.holds("nothing is set where the old value was another", "group")
	a.swap("group", "name", "", "one", true)
	a.swap("group", "name", "", "two", false)
	a.swap("group", "name", "on", "two", false)
	a.holds("nothing is set where the old value was another", "group", "name", "one")
	a.swap("group", "name", "one", "two", true)
	a.holds("a swapped attribute has its new value", "group", "name", "two")
	a.swap("group", "name", "two", "two", true)
}

func attributesRace(e *env) {
	engines := []keeper{e.openAttributes()}
	if !e.h.NotShared {
		engines = append(engines, e.openAttributes())
	}
	const goroutines, rounds = 6, 10
	var wg sync.WaitGroup
	for g := range goroutines {
		k := engines[g%len(engines)]
		wg.Go(func() {
			for done := 0; done < rounds; {
				all, err := k.attributes.Attributes(e.ctx, "group")
				if err != nil {
					e.Errorf("Attributes: %v", err)
					return
				}
				n, _ := strconv.Atoi(string(all["n"].Value))
				swapped, err := k.attributes.SwapAttribute(e.ctx, "group", "n", all["n"].Value, strconv.AppendInt(nil, int64(n+1), 10), 0)
				if err != nil {
					e.Errorf("SwapAttribute: %v", err)
					return
				}
				if swapped {
					done++
				}
			}
		})
	}
	wg.Wait()
	engines[0].holds("each swap of several at once must see the one before", "group", "n", strconv.Itoa(goroutines*rounds))
}

func attributesDeleted(e *env) {
	a := e.openAttributes()
	a.swap("group", "name", "", "value", true)
	a.swap("group", "other", "", "value", true)
	a.swap("group", "name", "value", "", true)
	a.holds("an attribute set to nothing is gone", "group", "other", "value")
	a.swap("group", "name", "", "", true)
	a.swap("group", "other", "value", "", true)
	a.holds("a group whose attributes were deleted has none", "group")
}

func attributesGroups(e *env) {
	a := e.openAttributes()
	a.swap("one", "name", "", "1", true)
	a.swap("two", "name", "", "2", true)
	a.swap("one:two", "name", "", "3", true)
	a.holds("an attribute belongs to one group", "one", "name", "1")
	a.holds("an attribute belongs to one group", "two", "name", "2")
	a.swap("one", "name", "1", "", true)
	a.holds("an attribute is deleted from one group", "two", "name", "2")
	a.holds("an attribute is deleted from one group", "one:two", "name", "3")
}

func attributesInvalid(e *env) {
	a := e.openAttributes()
	for what, call := range map[string]func(context.Context) error{
		"a group without name": func(ctx context.Context) error { _, err := a.attributes.Attributes(ctx, ""); return err },
		"an attribute without group": func(ctx context.Context) error {
			_, err := a.attributes.SwapAttribute(ctx, "", "name", nil, []byte("value"), 0)
			return err
		},
		"an attribute without name": func(ctx context.Context) error {
			_, err := a.attributes.SwapAttribute(ctx, "group", "", nil, []byte("value"), 0)
			return err
		},
	} {
		if err := call(e.ctx); !errors.Is(err, engine.ErrInvalid) {
			e.Errorf("%s must be ErrInvalid: got %v", what, err)
		}
	}
}

func attributesNoChannels(e *env) {
	a := e.openAttributes()
	a.swap("org.example.users", url1, "", "value", true)
	a.add("org.example.orders", url1, true)
	a.has("attributes are no subscribers", "org.example.users")
	if all := a.channels(""); len(all) != 1 || !slices.Equal(all["org.example.orders"], []string{url1}) {
		e.Errorf("Channels must not list attributes: got %q", all)
	}
	a.remove("org.example.orders", url1, true)
	a.holds("attributes stay when subscribers go", "org.example.users", url1, "value")
}

func attributesShared(e *env) {
	a, b := e.openAttributes(), e.openAttributes()
	b.holds("a group that nobody knows has no attributes", "group")
	a.swap("group", "name", "", "value", true)
	b.holds("what another engine set is there at once", "group", "name", "value")
	b.swap("group", "name", "value", "new", true)
	a.swap("group", "name", "value", "lost", false)
	a.close()
	b.close()
	e.openAttributes().holds("attributes survive", "group", "name", "new")
}
