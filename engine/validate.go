package engine

import (
	"fmt"
	"time"
)

// What no store could carry out is found here, once for all engines, before
// anything of a call takes effect. Every error is ErrInvalid.

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// Validate checks a lane.
func (l Lane) Validate() error {
	if l.Kind < FanOut || l.Kind > Handle || l.Name == "" {
		return invalid("the lane %q of kind %d", l.Name, l.Kind)
	}
	return nil
}

// Validate checks a request to Push.
func (r *PushRequest) Validate() error {
	for i := range r.Jobs {
		if err := r.Jobs[i].validate(false); err != nil {
			return err
		}
	}
	if len(r.Channels) > 0 && r.MaxSubscribers < 1 {
		return invalid("at most %d subscribers asked for of a channel", r.MaxSubscribers)
	}
	for _, channel := range r.Channels {
		if err := ValidateChannel(channel); err != nil {
			return err
		}
	}
	return nil
}

// validate checks a job; one that follows another may do without an event.
func (j *Job) validate(follows bool) error {
	switch {
	case j.Event == nil && !follows:
		return invalid("a job without an event")
	case j.Event != nil && j.Event.ID == "":
		return invalid("an event without an ID")
	case j.Past == nil:
	case follows:
		return invalid("a follow-up job with a past")
	case j.Past.Result != Retry && j.Past.Result != Bury && j.Past.Result != Release:
		return invalid("a job with a past whose result is %d", j.Past.Result)
	case j.Past.Attempt < 0:
		return invalid("a job with a past of %d attempts", j.Past.Attempt)
	}
	return j.Lane.Validate()
}

// Validate checks a request to Claim.
func (r *ClaimRequest) Validate() error {
	switch {
	case r.Kind < FanOut || r.Kind > Handle:
		return invalid("a claim of kind %d", r.Kind)
	case r.Max < 1 || r.MaxPerLane < 1:
		return invalid("a claim of at most %d jobs, %d of a lane", r.Max, r.MaxPerLane)
	case r.Lease <= 0:
		return invalid("a claim with a lease of %v", r.Lease)
	}
	for name, limit := range r.Limits {
		if limit < 0 {
			return invalid("a claim of %d jobs of %q", limit, name)
		}
	}
	return nil
}

// ValidateOutcomes checks what is given to Settle.
func ValidateOutcomes(outcomes []Outcome) error {
	for i := range outcomes {
		out := &outcomes[i]
		switch {
		case out.Result < Done || out.Result > Extend:
			return invalid("an outcome with the result %d", out.Result)
		case out.Attempt < 0:
			return invalid("an outcome with the attempt %d", out.Attempt)
		}
		for j := range out.Follow {
			if err := out.Follow[j].validate(true); err != nil {
				return err
			}
		}
	}
	return nil
}

// Validate checks what is given to Dead.
func (q *DeadQuery) Validate() error {
	if q.Max < 0 {
		return invalid("a query for %d dead letters", q.Max)
	}
	return nil
}

// Validate checks what is given to LanePage.
func (q *LaneQuery) Validate() error {
	switch {
	case q.Max < 0:
		return invalid("a query for %d lanes", q.Max)
	case q.Kind > Handle:
		return invalid("a query for lanes of kind %d", q.Kind)
	case q.After != Lane{}:
		return q.After.Validate()
	}
	return nil
}

// ValidateLater checks what is given to Later.
func ValidateLater(lane Lane, limit int) error {
	if limit < 1 {
		return invalid("at most %d jobs that are due later", limit)
	}
	return lane.Validate()
}

// ValidateChannel checks the name of a channel.
func ValidateChannel(channel string) error {
	if channel == "" {
		return invalid("a channel without a name")
	}
	return nil
}

// ValidateSubscriber checks a channel and a callback URL.
func ValidateSubscriber(channel, callbackURL string) error {
	if callbackURL == "" {
		return invalid("a subscriber without a callback URL")
	}
	return ValidateChannel(channel)
}

// ValidateGroup checks the name of a group of attributes.
func ValidateGroup(group string) error {
	if group == "" {
		return invalid("a group of attributes without a name")
	}
	return nil
}

// ValidateAttribute checks the group and the name of an attribute.
func ValidateAttribute(group, name string) error {
	if name == "" {
		return invalid("an attribute without a name")
	}
	return ValidateGroup(group)
}

// ValidateRealm checks the name of a realm.
func ValidateRealm(realm string) error {
	if realm == "" {
		return invalid("a realm without a name")
	}
	return nil
}

// ValidateCredential checks a realm and a user name.
func ValidateCredential(realm, username string) error {
	if username == "" {
		return invalid("a credential without a user name")
	}
	return ValidateRealm(realm)
}

// ValidateProof checks what is given to PutCredential.
func ValidateProof(realm, username string, proof []byte) error {
	if len(proof) == 0 {
		return invalid("a credential without a proof")
	}
	return ValidateCredential(realm, username)
}

// ValidateMemory checks what is given to Remember.
func ValidateMemory(key string, value []byte, d time.Duration) error {
	switch {
	case key == "":
		return invalid("something to remember without a key")
	case len(value) == 0:
		return invalid("nothing to remember")
	case d <= 0:
		return invalid("something to remember for %v", d)
	}
	return nil
}
