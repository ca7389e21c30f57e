package sidekiq

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

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
	var event struct {
		ID      string `json:"id"`
		Channel string `json:"channel"`
	}
	if err := json.Unmarshal(raw.Args[0], &event); err != nil {
		return nil, err
	}
	if event.ID == "" || event.Channel == "" {
		return nil, errors.New("an event without ID or channel")
	}
	j.event = engine.Event{ID: event.ID, Channel: event.Channel, Body: raw.Args[0]}
	if raw.RetryCount != nil {
		j.tries = max(0, *raw.RetryCount) + 1 // it counts from 0
	}
	return j, nil
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
