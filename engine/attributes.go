package engine

import (
	"context"
	"time"
)

// Attributes is implemented by engines that can keep small values beside the
// subscribers, which all of toot's own do. Attributes belong to groups and
// mean nothing to the engine. They do not appear among the subscribers or the
// channels, and stay when those are removed. A group or name that is empty is
// ErrInvalid.
//
// What a method wrote is seen by every engine on the store at once.
type Attributes interface {
	// Attribute returns one attribute of a group. There is none if its Value
	// is empty.
	Attribute(ctx context.Context, group, name string) (Attribute, error)
	// Attributes returns the attributes of a group by their names; none for a
	// group that nobody knows. The caller may keep the map.
	Attributes(ctx context.Context, group string) (map[string]Attribute, error)
	// SwapAttribute sets an attribute to a value, if its value was old until
	// then, and reports whether it did. nil, or an empty value, means that
	// there is no such attribute. If keep is more than zero, the attribute is
	// gone once that time has passed, unless it is set again; setting it to
	// the value that it has makes it as young as this call, too.
	SwapAttribute(ctx context.Context, group, name string, old, value []byte, keep time.Duration) (swapped bool, err error)
}

// Attribute is what is kept under a name of a group.
type Attribute struct {
	Value []byte
	// Age is how long ago it was set. One that was set before ages were kept
	// has an age of some years.
	Age time.Duration
	// Left is how long it will be kept; zero for one that has no end.
	Left time.Duration
}
