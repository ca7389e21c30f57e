package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/propagation"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/internal/wire"
)

const (
	// A request with many events may be so many times as large as one event,
	// and have so many of them: they are stored in one step.
	manyTimes = 16
	maxMany   = 10_000
	// perEvent is what an event takes on its way into the store, beside its
	// payload, in bytes.
	perEvent = 1 << 10
	// maxKey bounds an Idempotency-Key.
	maxKey = 255
	// rememberTimeout is how long the store may take to remember one.
	rememberTimeout = 5 * time.Second
)

// RepeatHeader is set in an answer to an Idempotency-Key that was used before.
const RepeatHeader = "Idempotent-Replayed"

// keySpace is the name space of the event IDs made of Idempotency-Keys.
var keySpace = uuid.MustParse("5e9b66d0-6a3c-5a3e-9d1f-7c1f6d1c9a55")

// published is what is answered for an event.
type published struct {
	ID          string `json:"id"`
	Channel     string `json:"channel"`
	Timestamp   string `json:"timestamp"`
	Subscribers int    `json:"subscribers"`
}

// servePublish publishes what the body says.
//
//	POST /publish/{channel}   application/x-ndjson: one event a line; anything else: one event
//
// With an Idempotency-Key, the event's ID is made of the channel and the key,
// and its timestamp is that of the first request with it, so that a repeat
// within the dedupe window is answered alike and publishes nothing.
//
// With X-Toot-After the events are sent later.
//
// A request that is itself a delivery makes events that are one hop further; it
// may be wire.MaxHops deep, or a circle would never end.
func (s *Server) servePublish(w http.ResponseWriter, r *http.Request) {
	order, ok := s.readOrder(w, r)
	if !ok {
		return
	}
	body, ok := wire.ReadBody(w, r, wire.BodyLimits{Bytes: s.bodyLimit(order.many), Depth: -1, Within: -1, Intake: s.intake})
	if !ok {
		return
	}
	defer body.Done()
	if !s.makeRoom(w, &body) {
		return
	}
	messages, err := s.compose(order.channel, order.key, body.Bytes, order.many)
	if err != nil {
		wire.Problem(w, http.StatusBadRequest, err.Error())
		return
	}
	ctx := r.Context()
	var timestamp time.Time
	if order.key != "" {
		var again bool
		timestamp, again, err = s.firstAsked(ctx, s.idOf(order.channel, order.key), max(order.after, time.Until(order.at)))
		if err != nil {
			s.unavailable(w, r, err, "The store can't be reached at the moment. Nothing was published; please send it again.")
			return
		}
		if again {
			w.Header().Set(RepeatHeader, "true")
		}
	}
	for i := range messages {
		m := &messages[i]
		m.Timestamp, m.Hops, m.After, m.At = timestamp, order.hops, order.after, order.at
	}
	if s.opts.Propagator != nil {
		ctx = s.opts.Propagator.Extract(ctx, propagation.HeaderCarrier(r.Header))
	}
	events, err := s.app.PublishAll(ctx, messages...)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	if s.log.Enabled(ctx, slog.LevelDebug) {
		for _, e := range events {
			s.log.Debug("published", "event", e.ID, "channel", e.Channel)
		}
	}
	answerPublished(w, events, order.many)
}

// order is what a request to publish says beside its payloads.
type order struct {
	channel string
	key     string // the Idempotency-Key, with whose it is
	many    bool   // one event a line
	hops    int    // of the events
	after   time.Duration
	at      time.Time
}

// readOrder reads what a request to publish says, or answers why it is refused.
func (s *Server) readOrder(w http.ResponseWriter, r *http.Request) (o order, ok bool) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		wire.Problem(w, http.StatusMethodNotAllowed, "Expected POST.")
		return o, false
	}
	if o.channel = r.PathValue("channel"); o.channel == "" {
		wire.Problem(w, http.StatusNotFound, "Expected a channel in the path: POST /publish/users.updated.v1")
		return o, false
	}
	if u := toot.UserOf(r.Context()); u != nil && !u.May(s.opts.ChannelPrefix+o.channel) {
		wire.Problem(w, http.StatusForbidden, "These credentials are for other channels.")
		return o, false
	}
	hops, isDelivery := wire.DeliveryHops(r.Header)
	if hops > wire.MaxHops {
		s.log.Warn("refused a delivery that came by too many hops, perhaps in a circle", "channel", o.channel, "hops", hops)
		w.Header().Set(wire.HopsHeader, strconv.Itoa(wire.MaxHops))
		wire.Problem(w, http.StatusUnprocessableEntity, fmt.Sprintf("This delivery is %d hops deep; at most %d are published again. Does a subscription lead in a circle? Nothing was published.", hops, wire.MaxHops))
		return o, false
	}
	if o.hops = hops; isDelivery {
		o.hops++
	}
	if o.key = r.Header.Get("Idempotency-Key"); len(o.key) > maxKey {
		wire.Problem(w, http.StatusBadRequest, fmt.Sprintf("The Idempotency-Key is longer than %d bytes.", maxKey))
		return o, false
	}
	if o.key != "" { // each publisher's keys are its own
		if whose, ok := r.Context().Value(keysOf{}).(string); ok {
			o.key += "\nby " + whose
		}
	}
	if o.after, o.at, ok = readAfter(w, r); !ok {
		return o, false
	}
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")) // what can't be read is not NDJSON
	o.many = mediaType == "application/x-ndjson"
	return o, true
}

// answerPublished answers with what was published.
func answerPublished(w http.ResponseWriter, events []*toot.Event, many bool) {
	answers := make([]published, len(events))
	for i, e := range events {
		answers[i] = published{e.ID, e.Channel, e.TimestampText, e.Subscribers}
	}
	if !many {
		answerJSON(w, http.StatusAccepted, answers[0])
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusAccepted)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for i := range answers {
		_ = enc.Encode(answers[i]) // whoever asked is gone if that fails
	}
}

// readAfter reads when what a request publishes is to be sent, or answers that it
// can't be read.
func readAfter(w http.ResponseWriter, r *http.Request) (after time.Duration, at time.Time, ok bool) {
	text := r.Header.Get(wire.AfterHeader)
	if text == "" {
		return 0, time.Time{}, true
	}
	after, at, err := wire.ParseAfter(text)
	if err != nil {
		wire.Problem(w, http.StatusBadRequest, fmt.Sprintf("The header %s can't be read: %v. Nothing was published.", wire.AfterHeader, err))
		return 0, time.Time{}, false
	}
	return after, at, true
}

// bodyLimit bounds a body; one with many events to a third of what all may take
// together, as its events take as much again.
func (s *Server) bodyLimit(many bool) int64 {
	one := int64(s.opts.MaxEventBytes)
	if !many {
		return one
	}
	return max(one, min(one*manyTimes, int64(s.opts.MaxIntakeBytes)/3))
}

// makeRoom counts what the events of a body take on their way into the store,
// or answers that there is no room for them.
func (s *Server) makeRoom(w http.ResponseWriter, body *wire.Body) bool {
	lines := min(bytes.Count(body.Bytes, []byte{'\n'})+1, maxMany)
	more := len(body.Bytes) + lines*perEvent
	switch {
	case body.Take(more):
		return true
	case cap(body.Bytes)+more > s.opts.MaxIntakeBytes:
		wire.Problem(w, http.StatusRequestEntityTooLarge, "These are more events than are taken in at once here. Nothing was published; please send fewer at a time.")
	default:
		wire.Full(w)
	}
	return false
}

// compose makes messages of a body. An error says what was expected.
func (s *Server) compose(channel, key string, body []byte, many bool) ([]toot.Message, error) {
	if !many {
		payload := bytes.TrimSpace(body)
		if len(payload) > 0 && !json.Valid(payload) {
			return nil, errors.New("Expected a payload that is JSON, or none.") //nolint:staticcheck // ST1005: a sentence for the answer
		}
		return []toot.Message{{Channel: channel, Payload: json.RawMessage(payload), ID: s.idOf(channel, key)}}, nil
	}
	var messages []toot.Message
	n := 0
	for line := range bytes.Lines(body) {
		n++
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		if !json.Valid(line) {
			return nil, fmt.Errorf("Expected one JSON payload a line; line %d is not JSON. Nothing was published.", n) //nolint:staticcheck // ST1005: as above
		}
		if len(messages) == maxMany {
			return nil, fmt.Errorf("Expected at most %d lines. Nothing was published.", maxMany) //nolint:staticcheck // ST1005: as above
		}
		m := toot.Message{Channel: channel, Payload: json.RawMessage(line)}
		if key != "" {
			m.ID = s.idOf(channel, key+"\n"+strconv.Itoa(len(messages)))
		}
		messages = append(messages, m)
	}
	if len(messages) == 0 {
		return nil, errors.New("Expected at least one line with a JSON payload.") //nolint:staticcheck // ST1005: as above
	}
	return messages, nil
}

// idOf is the ID of the event that a key stands for on a channel; without a
// key there is none.
func (s *Server) idOf(channel, key string) string {
	if key == "" {
		return ""
	}
	return uuid.NewSHA1(keySpace, []byte(s.opts.ChannelPrefix+channel+"\n"+key)).String()
}

// firstAsked returns when the first request came whose key makes the ID of an
// event that is to be sent after a time, and whether that was before this one. It
// is written down before anything is published, so that whatever comes in between,
// the death of the process included, a repeat finds it.
func (s *Server) firstAsked(ctx context.Context, id string, after time.Duration) (at time.Time, again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, rememberTimeout)
	defer cancel()
	now := time.Now().UTC().Format(time.RFC3339Nano)
	// Engines know a job again for up to twice the window, and while it waits.
	kept, err := s.opts.Memory.Remember(ctx, "asked:"+id, []byte(now), 2*s.opts.Dedupe+time.Minute+max(after, 0))
	if err != nil {
		return time.Time{}, false, err
	}
	at, err = time.Parse(time.RFC3339Nano, string(kept))
	return at, string(kept) != now, err
}

// refuse answers why something was not published, or that this is not known.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, toot.ErrInvalidChannel), errors.Is(err, toot.ErrInvalidPayload), errors.Is(err, toot.ErrInvalidDelay):
		wire.Problem(w, http.StatusUnprocessableEntity, sentence(err))
	case errors.Is(err, toot.ErrTooLarge):
		wire.Problem(w, http.StatusRequestEntityTooLarge, sentence(err))
	case errors.Is(err, toot.ErrBusy): // those that wait have more to say in the log
		wire.Unavailable(w, "Too many requests are waiting for the store. Nothing was published; please send it again later.")
	case errors.Is(err, toot.ErrUncertain):
		again := "Sent again, it may be published twice; an Idempotency-Key prevents that."
		if r.Header.Get("Idempotency-Key") != "" {
			again = "Please send it again with the same Idempotency-Key: it is not published twice."
		}
		s.unavailable(w, r, err, "The store's answer did not arrive, so that it is not known whether this was published. "+again)
	default:
		s.unavailable(w, r, err, "The store can't be reached at the moment. Nothing was published; please send it again.")
	}
}

// unavailable answers with 503, and logs why.
func (s *Server) unavailable(w http.ResponseWriter, r *http.Request, err error, detail string) {
	if r.Context().Err() == nil {
		s.log.Error("can't publish", "path", wire.Shorten(r.URL.Path), "error", err)
	}
	wire.Unavailable(w, detail)
}
