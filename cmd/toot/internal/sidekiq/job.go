package sidekiq

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// job is a job of the original.
type job struct {
	kind  engine.Kind
	url   string // of Deliver
	event engine.Event
	tries int // that have failed
	class string
	text  string // of the last error
}

// parseJob reads what Sidekiq has stored. The event's bytes stay as they are.
func parseJob(text string) (*job, error) {
	if !mayBeOurs(text) {
		return nil, errOther
	}
	var raw struct {
		Class        string            `json:"class"`
		Args         []json.RawMessage `json:"args"`
		JID          string            `json:"jid"`
		RetryCount   *int              `json:"retry_count"`
		ErrorClass   string            `json:"error_class"`
		ErrorMessage string            `json:"error_message"`
	}
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		var class struct {
			Class string `json:"class"`
		}
		if json.Unmarshal([]byte(text), &class) != nil || classes[class.Class] == 0 {
			return nil, errOther
		}
		return nil, err
	}
	j := &job{kind: classes[raw.Class], class: raw.ErrorClass, text: raw.ErrorMessage}
	if j.kind == 0 {
		return nil, errOther
	}
	if j.kind == engine.Deliver {
		if len(raw.Args) == 0 || json.Unmarshal(raw.Args[0], &j.url) != nil || j.url == "" {
			return nil, errors.New("no callback URL")
		}
		raw.Args = raw.Args[1:]
	}
	if len(raw.Args) == 0 {
		return nil, errors.New("no event")
	}
	id, channel, err := identify(raw.Args[0])
	if err != nil {
		return nil, err
	}
	// A Ruby publisher gives every event an ID. What it got from others has
	// the job's, which is the same however often the job is looked at.
	if id == "" {
		id = raw.JID
	}
	if id == "" || channel == "" {
		return nil, errors.New("an event without channel, or without an ID in a job without one")
	}
	j.event = engine.Event{ID: id, Channel: channel, Body: raw.Args[0]}
	if raw.RetryCount != nil {
		j.tries = max(0, *raw.RetryCount) + 1 // it counts from 0
	}
	return j, nil
}

// identify returns an event's ID and channel, each empty unless it is text. The
// names of members are exact.
func identify(event json.RawMessage) (id, channel string, err error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(event, &members); err != nil {
		return "", "", err
	}
	for name, value := range map[string]*string{"id": &id, "channel": &channel} {
		_ = json.Unmarshal(members[name], value) // anything else than text leaves it empty
	}
	return id, channel, nil
}

// past is what became of the job in Sidekiq, if it failed there. A dead one
// stays dead; another is due again after a time.
func (j *job) past(isDead bool, after time.Duration) *engine.Outcome {
	if isDead {
		return &engine.Outcome{Result: engine.Bury, Attempt: j.tries, Reason: j.reason()}
	}
	return &engine.Outcome{Result: engine.Retry, Attempt: j.tries, After: after}
}

// reason says why a job is dead.
func (j *job) reason() string {
	reason := strings.TrimPrefix(j.class+": "+j.text, ": ")
	reason = strings.TrimSuffix("dead in Sidekiq: "+reason, ": ")
	if j.tries > 0 {
		reason += fmt.Sprintf(" (after %d tries)", j.tries)
	}
	return reason
}
