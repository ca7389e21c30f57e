package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/watermarkchurch/toot-go"
)

const (
	prefix  = "org.example.publisher."
	channel = "people.updated.v1"
)

// person is the payload. Its number comes first, so that whoever gets it
// finds the number without reading the rest.
type person struct {
	N     int    `json:"n"`
	Name  string `json:"name"`
	Email string `json:"email"`
	Note  string `json:"note,omitempty"`
}

// payload is that of event n; extra bytes make it larger.
func payload(n, extra int) person {
	return person{N: n, Name: "Someone Somewhere", Email: "someone@example.org", Note: strings.Repeat("x", extra)}
}

// wireEvent is an event as it goes over the wire, for the rows that toot has
// no part in.
func wireEvent(n, extra int) []byte {
	e := &toot.Event{ID: uuid.Must(uuid.NewV7()).String(), Timestamp: time.Now().UTC(), Channel: prefix + channel}
	var err1, err2 error
	var body []byte
	e.Payload, err1 = json.Marshal(payload(n, extra))
	body, err2 = e.MarshalJSON()
	if err := errors.Join(err1, err2); err != nil {
		panic(err) // strings and numbers always marshal
	}
	return body
}

var numberKey = []byte(`"n":`)

// number reads the number of an event, or of a payload, without parsing it: to
// count must cost next to nothing. -1 means that there is none.
func number(body []byte) int {
	i := bytes.Index(body, numberKey)
	if i < 0 {
		return -1
	}
	n, digits := 0, body[i+len(numberKey):]
	for _, c := range digits {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + int(c-'0')
	}
	return n
}
