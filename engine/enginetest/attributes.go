package enginetest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

var attributeChecks = []check{
	{"keep_every_byte", attributes, attributesBytes},
	{"are_swapped_only_for_what_was_there", attributes, attributesSwap},
	{"swapped_by_many_at_once_lose_nothing", attributes, attributesRace},
	{"are_deleted", attributes, attributesDeleted},
	{"belong_to_one_group", attributes, attributesGroups},
	{"are_told_one_at_a_time_too", attributes, attributesOne},
	{"tell_their_age", attributes, attributesAge},
	{"tell_how_long_they_are_kept", attributes, attributesLeft},
	{"are_gone_when_their_time_is_over", attributes, attributesGone},
	{"whose_time_is_over_count_as_none", attributes, attributesSwapGone},
	{"set_anew_are_young_again", attributes, attributesYoung},
	{"without_a_name_are_refused", attributes, attributesInvalid},
	{"are_no_channels", attributes, attributesNoChannels},
	{"are_shared_and_survive", attributes | sharing, attributesShared},
}

// attributer is a client of engine.Attributes.
type attributer struct {
	*client
	engine.Attributes
}

func (e *env) openAttributes() attributer {
	e.Helper()
	c, k := keep[engine.Attributes](e)
	return attributer{c, k}
}

func (k attributer) swap(group, name, old, value string, want bool) {
	k.e.Helper()
	swapped, err := k.SwapAttribute(k.e.ctx, group, name, []byte(old), []byte(value), 0)
	if err != nil || swapped != want {
		k.e.Fatalf("SwapAttribute(%q, %q, %q, %q) must set exactly if the value was the old one: got %v, %v", group, name, old, value, swapped, err)
	}
}

// holds holds the attributes of a group against names and values in turn.
func (k attributer) holds(rule, group string, namesAndValues ...string) {
	k.e.Helper()
	got, err := k.Attributes.Attributes(k.e.ctx, group)
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
	engines := []attributer{e.openAttributes()}
	if !e.h.NotShared {
		engines = append(engines, e.openAttributes())
	}
	const goroutines, rounds = 6, 10
	var wg sync.WaitGroup
	for g := range goroutines {
		k := engines[g%len(engines)]
		wg.Go(func() {
			for done := 0; done < rounds; {
				all, err := k.Attributes.Attributes(e.ctx, "group")
				if err != nil {
					e.Errorf("Attributes: %v", err)
					return
				}
				n, _ := strconv.Atoi(string(all["n"].Value))
				swapped, err := k.SwapAttribute(e.ctx, "group", "n", all["n"].Value, strconv.AppendInt(nil, int64(n+1), 10), 0)
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

func attributesOne(e *env) {
	a := e.openAttributes()
	a.is("an attribute that nobody knows is none", "group", "name", "")
	a.swap("group", "name", "", everyByte, true)
	a.swap("group", "other", "", "value", true)
	a.is("an attribute must be kept byte for byte", "group", "name", everyByte)
	a.is("an attribute has its own value", "group", "other", "value")
	a.is("an attribute belongs to one group", "other", "name", "")
	a.swap("group", "name", everyByte, "", true)
	a.is("an attribute set to nothing is none", "group", "name", "")
	for _, s := range strange {
		a.swap("group "+s, s, "", "value "+s, true)
	}
	for _, s := range strange {
		a.is("groups and names may have any characters", "group "+s, s, "value "+s)
	}
}

// get reads one attribute.
func (k attributer) get(group, name string) engine.Attribute {
	k.e.Helper()
	one, err := k.Attribute(k.e.ctx, group, name)
	if err != nil {
		k.e.Fatalf("Attribute(%q, %q): %v", group, name, err)
	}
	return one
}

// is holds an attribute against what it must be, as told one at a time.
func (k attributer) is(rule, group, name, value string) engine.Attribute {
	k.e.Helper()
	got := k.get(group, name)
	if string(got.Value) != value {
		k.e.Fatalf("%s: Attribute(%q, %q) is %.300q, want %.300q", rule, group, name, got.Value, value)
	}
	if value == "" && (got.Age != 0 || got.Left != 0) {
		k.e.Fatalf("%s: an attribute that is none must have no age and no time left: got %v and %v", rule, got.Age, got.Left)
	}
	return got
}

// both are an attribute as Attribute and as Attributes tell it.
func (k attributer) both(group, name string) map[string]engine.Attribute {
	k.e.Helper()
	all, err := k.Attributes.Attributes(k.e.ctx, group)
	if err != nil {
		k.e.Fatalf("Attributes(%q): %v", group, err)
	}
	return map[string]engine.Attribute{"Attribute": k.get(group, name), "Attributes": all[name]}
}

func (k attributer) swapFor(group, name, old, value string, keep time.Duration, want bool) {
	k.e.Helper()
	swapped, err := k.SwapAttribute(k.e.ctx, group, name, []byte(old), []byte(value), keep)
	if err != nil || swapped != want {
		k.e.Fatalf("SwapAttribute(%q, %q, %q, %q, %v) must set exactly if the value was the old one: got %v, %v", group, name, old, value, keep, swapped, err)
	}
}

func attributesAge(e *env) {
	a := e.openAttributes()
	for i, keep := range []time.Duration{0, long} {
		name := strconv.Itoa(i)
		called := time.Now()
		a.swapFor("group", name, "", "value", keep, true)
		returned := time.Now()
		e.pass(returned, brief)
		for way, got := range a.both("group", name) {
			if high := time.Since(called); got.Age < brief-2*clockGrain || got.Age > high+clockGrain {
				e.Errorf("the age of an attribute must be the time since it was set: %s tells %v, want %v to %v", way, got.Age, brief, high)
			}
		}
	}
}

func attributesLeft(e *env) {
	a := e.openAttributes()
	for _, keep := range []time.Duration{0, -long} {
		name := keep.String()
		a.swapFor("group", name, "", "value", keep, true)
		for way, got := range a.both("group", name) {
			if string(got.Value) != "value" || got.Left != 0 {
				e.Errorf("an attribute with a keep of zero or less must have no end: %s tells %q with %v left", way, got.Value, got.Left)
			}
		}
	}
	called := time.Now()
	a.swapFor("group", "name", "", "value", long, true)
	for way, got := range a.both("group", "name") {
		if low := long - time.Since(called); got.Left > long+clockGrain || got.Left < low-clockGrain {
			e.Errorf("Left must be how much longer an attribute is kept: %s tells %v, want %v to %v", way, got.Left, low, long)
		}
	}
}

// vanishes makes sure that an attribute is there until d after called, and
// gone at some time.
func (k attributer) vanishes(rule string, called time.Time, d time.Duration, group, name string) {
	k.e.Helper()
	k.e.eventually(rule, func() bool {
		gone := 0
		var ways map[string]engine.Attribute
		k.e.asks(func() { ways = k.both(group, name) })
		early := d - time.Since(called)
		for way, got := range ways {
			if len(got.Value) > 0 {
				continue
			}
			gone++
			if early > k.e.grain() {
				k.e.Fatalf("%s: to %s it was over %v too early, of %v", rule, way, early, d)
			}
		}
		return gone == len(ways)
	})
}

func attributesGone(e *env) {
	a := e.openAttributes()
	a.swapFor("group", "stays", "", "value", 0, true)
	a.swapFor("group", "lasts", "", "value", long, true)
	called := time.Now()
	a.swapFor("group", "name", "", "value", brief, true)
	a.vanishes("an attribute is kept for its time", called, brief, "group", "name")
	a.holds("that an attribute's time is over leaves others alone", "group", "stays", "value", "lasts", "value")
}

func attributesSwapGone(e *env) {
	a := e.openAttributes()
	for _, name := range []string{"one", "two", "three"} {
		a.swapFor("group", name, "", "value", brief, true)
	}
	e.pass(time.Now(), brief)
	// Whoever asks first, nothing must have looked before.
	a.swapFor("group", "one", "value", "new", 0, false)
	a.swapFor("group", "two", "", "new", 0, true)
	a.is("an attribute is set where the time of the one before is over", "group", "two", "new")
	a.swapFor("group", "three", "value", "", 0, false)
	a.holds("an attribute whose time is over counts as none", "group", "two", "new")
}

func attributesYoung(e *env) {
	a := e.openAttributes()
	// One that has an end is set anew: it starts over.
	a.swapFor("group", "renewed", "", "value", long/2, true)
	a.swapFor("group", "endless", "", "value", 4*brief, true)
	a.swapFor("group", "ending", "", "value", 0, true)
	a.swapFor("group", "shorter", "", "value", long, true)
	e.pass(time.Now(), brief)
	called := time.Now()
	a.swapFor("group", "renewed", "value", "value", long, true)
	for way, got := range a.both("group", "renewed") {
		passed := time.Since(called)
		if got.Age > passed+clockGrain {
			e.Errorf("an attribute that is set anew, to the same value too, must be as young as that call: %s tells an age of %v within %v", way, got.Age, passed)
		}
		if got.Left < long-passed-clockGrain {
			e.Errorf("an attribute that is set anew must be kept from then on: %s tells %v left of %v within %v", way, got.Left, long, passed)
		}
	}
	if got := a.get("group", "endless"); string(got.Value) == "value" { // or else the machine is slow
		if swapped, err := a.SwapAttribute(e.ctx, "group", "endless", []byte("value"), []byte("value"), 0); err != nil {
			e.Fatalf("SwapAttribute: %v", err)
		} else if swapped {
			e.pass(time.Now(), 4*brief)
			if got := a.is("an attribute that is set anew without an end stays", "group", "endless", "value"); got.Left != 0 {
				e.Errorf("an attribute that is set anew without an end must have none: %v are left", got.Left)
			}
		}
	}
	called = time.Now()
	a.swapFor("group", "ending", "value", "other", brief, true)
	a.swapFor("group", "shorter", "value", "value", brief, true)
	a.vanishes("an attribute that is set anew with an end has it", called, brief, "group", "ending")
	a.vanishes("an attribute that is set anew may be kept for less long", called, brief, "group", "shorter")
	// What was not swapped is as old as it was.
	called = time.Now()
	a.swapFor("group", "refused", "", "value", 0, true)
	e.pass(time.Now(), brief)
	a.swapFor("group", "refused", "another", "new", brief, false)
	for way, got := range a.both("group", "refused") {
		if got.Age < brief-2*clockGrain || got.Left != 0 {
			e.Errorf("a swap that is refused must leave age and end alone: %s tells %v and %v after %v", way, got.Age, got.Left, time.Since(called))
		}
	}
}

func attributesInvalid(e *env) {
	a := e.openAttributes()
	for what, call := range map[string]func(context.Context) error{
		"a group without name":                 func(ctx context.Context) error { _, err := a.Attributes.Attributes(ctx, ""); return err },
		"a look at an attribute without group": func(ctx context.Context) error { _, err := a.Attribute(ctx, "", "name"); return err },
		"a look at an attribute without name":  func(ctx context.Context) error { _, err := a.Attribute(ctx, "group", ""); return err },
		"an attribute without group": func(ctx context.Context) error {
			_, err := a.SwapAttribute(ctx, "", "name", nil, []byte("value"), 0)
			return err
		},
		"an attribute without name": func(ctx context.Context) error {
			_, err := a.SwapAttribute(ctx, "group", "", nil, []byte("value"), 0)
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
	b.swapFor("group", "kept", "", "value", long, true)
	a.is("what another engine set is there at once", "group", "kept", "value")
	called := time.Now()
	b.swapFor("group", "brief", "", "value", brief, true)
	a.vanishes("an attribute is kept for its time, to every engine on the store", called, brief, "group", "brief")
	a.close()
	b.close()
	c := e.openAttributes()
	c.holds("attributes survive", "group", "name", "new", "kept", "value")
	for way, got := range c.both("group", "kept") {
		if passed := time.Since(called); got.Left > long || got.Left < long-passed-brief || got.Age < brief-2*clockGrain {
			e.Errorf("age and end of an attribute must survive: %s tells an age of %v and %v left", way, got.Age, got.Left)
		}
	}
}
