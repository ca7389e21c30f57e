package toot_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/watermarkchurch/toot-go"
)

// TestAPreparedEventIsPublishedLater: as it was made, byte for byte, with its
// hops and its place in a trace, and under its ID, so that it arrives once
// however often it is published.
func TestAPreparedEventIsPublishedLater(t *testing.T) {
	type request struct {
		body   []byte
		header http.Header
	}
	arrived := make(chan request, 10)
	peer := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		arrived <- request{body, r.Header}
	}))
	defer peer.Close()
	observer := &tracer{}
	n := newNode(t, toot.Options{ChannelPrefix: prefix, Observer: observer}, true)
	n.add(t, prefix+"a", peer.URL)
	events, prepared, err := n.Prepare(t.Context(), toot.Message{Channel: "a", Payload: json.RawMessage(`{"n": 12345678901234567890, "b":"é"}`), ID: "one", Hops: 2})
	must(t, err)
	for range 3 {
		must(t, n.PublishPrepared(t.Context(), prepared...))
	}
	n.settled(t)
	got := <-arrived
	if len(arrived) > 0 {
		t.Errorf("it arrived %d times", 1+len(arrived))
	}
	want := fmt.Sprintf(`{"id":"one","timestamp":%q,"payload":{"n": 12345678901234567890, "b":"é"},"channel":"`+prefix+`a"}`, events[0].TimestampText)
	if string(got.body) != want {
		t.Errorf("%s arrived, want %s", got.body, want)
	}
	if trace, hops := got.header.Get("Traceparent"), got.header.Get("X-Toot-Hops"); trace != "prepare>publish>deliver" || hops != "2" {
		t.Errorf("trace %q, hops %q", trace, hops)
	}
	if steps := observer.all(); !slices.Contains(steps, "publish ok prepare") {
		t.Errorf("the steps were %q", steps)
	}
}

// TestWhatCanNotBePublishedIsNotPrepared, and what other programs make of it is
// found out when it is published: none of the events of that call is.
func TestWhatCanNotBePublishedIsNotPrepared(t *testing.T) {
	n := newNode(t, toot.Options{MaxEventBytes: 1000}, false)
	peer := newEndpoint(t, func(http.ResponseWriter, int) {})
	n.add(t, "a", peer.URL)
	long := strings.Repeat("x", 2000)
	for want, m := range map[error]toot.Message{
		toot.ErrInvalidChannel: {Channel: "a\nb"},
		toot.ErrInvalidID:      {Channel: "a", ID: "a\nb"},
		toot.ErrInvalidPayload: {Channel: "a", Payload: json.RawMessage("{")},
		toot.ErrTooLarge:       {Channel: "a", Payload: long},
	} {
		if _, _, err := n.Prepare(t.Context(), toot.Message{Channel: "a"}, m); !errors.Is(err, want) {
			t.Errorf("%+v: %v, want %v", m, err, want)
		}
	}
	_, good, err := n.Prepare(t.Context(), toot.Message{Channel: "a"})
	must(t, err)
	for body, want := range map[string]error{
		``:                          toot.ErrInvalidPayload,
		`{"id":"1","channel":"a"`:   toot.ErrInvalidPayload,
		`[]`:                        toot.ErrInvalidPayload,
		`{"id":"1"}`:                toot.ErrInvalidChannel,
		`{"id":"1","channel":"\n"}`: toot.ErrInvalidChannel,
		`{"channel":"a"}`:           toot.ErrInvalidID,
		`{"id":"\n","channel":"a"}`: toot.ErrInvalidID,
		"{\"id\":\"1\",\"channel\":\"a\",\"payload\":\"\xff\"}": toot.ErrInvalidPayload,
		`{"id":"1","channel":"a","payload":"` + long + `"}`:     toot.ErrTooLarge,
	} {
		if err := n.PublishPrepared(t.Context(), good[0], toot.Prepared{Body: []byte(body)}); !errors.Is(err, want) {
			t.Errorf("%.50s: %v, want %v", body, err, want)
		}
	}
	if lanes := n.lanes(t); len(lanes) > 0 {
		t.Errorf("something was published: %+v", lanes)
	}
	must(t, n.PublishPrepared(t.Context(), good...))
	if lanes := n.lanes(t); len(lanes) != 1 || lanes[0].Waiting+lanes[0].Leased != 1 {
		t.Errorf("after the good one there is %+v", lanes)
	}
}
