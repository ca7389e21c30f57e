package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// rosterGroup is the group of attributes in which the processes of an app keep
// what they subscribe to: one attribute for each set of subscriptions that some
// process has or had, whatever number of processes has it. It is as old as the
// last renewal by one of them.
const rosterGroup = "subscriptions"

// Subscription is a subscription of an app, as its processes tell each other
// of it.
type Subscription struct {
	Name    string `json:"name"`
	Channel string `json:"channel"` // the full name
	// Source is the name of the source whose channel it is.
	Source string `json:"source"`
	// Signed says that its events must be signed under the source's secrets.
	Signed bool `json:"signed,omitempty"`
}

// release is the subscriptions of the processes that have the same ones, as a
// rule because they run the same release of the app.
type release struct {
	Subscriptions []Subscription `json:"subscriptions"`
	// RetireAfter is for how long they count after the last renewal, in
	// milliseconds.
	RetireAfter int64 `json:"retire_after_ms"`
}

const (
	// renewEvery is how often a process renews its subscriptions, unless they
	// are retired so soon that it has to be more often.
	renewEvery = 10 * time.Minute
	// missedRenewals is how many renewals have to be missing before no process
	// is taken to have the subscriptions any more.
	missedRenewals = 3
)

// RenewEvery is how often a process has to renew subscriptions that are
// retired after a time.
func RenewEvery(retireAfter time.Duration) time.Duration {
	return min(renewEvery, retireAfter/(missedRenewals+1))
}

func (r *release) retireAfter() time.Duration { return time.Duration(r.RetireAfter) * time.Millisecond }

// isRetired says that a release of an age does not count any more.
func (r *release) isRetired(age time.Duration) bool { return age > r.retireAfter() }

// isRunning says that processes with a release of an age are taken to run.
func (r *release) isRunning(age time.Duration) bool {
	return age <= missedRenewals*RenewEvery(r.retireAfter())
}

// encode returns a release as it is kept, and the name under which it is.
func (r *release) encode() (name string, value []byte) {
	value, err := json.Marshal(r)
	if err != nil { // strings and numbers always marshal
		panic(err)
	}
	sum := sha256.Sum256(value)
	return hex.EncodeToString(sum[:16]), value
}

func decodeReleases(all map[string]engine.Attribute) (map[string]*release, error) {
	releases := make(map[string]*release, len(all))
	for name, a := range all {
		r := new(release)
		if err := json.Unmarshal(a.Value, r); err != nil {
			return nil, fmt.Errorf("toot: the subscriptions that are kept as %q can't be read: %w", name, err)
		}
		releases[name] = r
	}
	return releases, nil
}

// Announce tells the other processes of an app, through the store, what this
// one subscribes to, or renews that. It returns the subscriptions that it found
// to have been renewed by nobody for as long as their processes had said: they
// are retired from then on, and no other call returns them. known is when every
// process that takes events in knows of this one's subscriptions.
func (r *Roster) Announce(ctx context.Context, own []Subscription, retireAfter time.Duration) (retired []Subscription, known time.Time, err error) {
	own = slices.Clone(own)
	slices.SortFunc(own, compareSubscriptions)
	mine := release{Subscriptions: own, RetireAfter: max(retireAfter.Milliseconds(), 1)}
	name, value := mine.encode()
	for range maxSwaps {
		began := time.Now()
		all, err := r.attributes.Attributes(ctx, rosterGroup)
		if err != nil {
			return nil, known, err
		}
		swapped, err := r.attributes.SwapAttribute(ctx, rosterGroup, name, all[name].Value, value, 0)
		if err != nil {
			return nil, known, err
		}
		if !swapped {
			continue // another process was the first to announce this release
		}
		releases, err := decodeReleases(all)
		if err != nil {
			return nil, known, err
		}
		if newRoll(all, releases, began).isNews(own) {
			known = time.Now().Add(rollAge)
		}
		all[name], releases[name] = engine.Attribute{Value: value}, &mine
		retired, err = r.retire(ctx, all, releases)
		r.last.Store(newRoll(all, releases, began))
		return retired, known, err
	}
	return nil, known, errContended
}

// retire removes the releases that do not count any more, and returns the
// subscriptions that nobody has now.
func (r *Roster) retire(ctx context.Context, all map[string]engine.Attribute, releases map[string]*release) (retired []Subscription, err error) {
	left := map[string]bool{} // names of subscriptions
	for name, release := range releases {
		if !release.isRetired(all[name].Age) {
			for _, s := range release.Subscriptions {
				left[s.Name] = true
			}
		}
	}
	for name, release := range releases {
		if !release.isRetired(all[name].Age) {
			continue
		}
		removed, err := r.attributes.SwapAttribute(ctx, rosterGroup, name, all[name].Value, nil, 0)
		if err != nil {
			return retired, err
		}
		if !removed {
			continue // by another process, which tells of it
		}
		for _, s := range release.Subscriptions {
			if !left[s.Name] && !slices.Contains(retired, s) {
				retired = append(retired, s)
			}
		}
	}
	slices.SortFunc(retired, compareSubscriptions)
	return retired, nil
}

func compareSubscriptions(a, b Subscription) int {
	if n := strings.Compare(a.Name, b.Name); n != 0 {
		return n
	}
	return strings.Compare(a.Channel, b.Channel)
}
