package engine

import "fmt"

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
		if channel == "" {
			return invalid("a channel without a name")
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

// ValidateSubscriber checks a channel and a callback URL.
func ValidateSubscriber(channel, callbackURL string) error {
	if channel == "" || callbackURL == "" {
		return invalid("a subscriber without channel or callback URL")
	}
	return nil
}

// ValidateAttribute checks the group and the name of an attribute.
func ValidateAttribute(group, name string) error {
	if group == "" || name == "" {
		return invalid("an attribute without group or name")
	}
	return nil
}
