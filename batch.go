package toot

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/coalesce"
)

// Batches: where both sides can, one POST carries several events. A subscriber
// says so with batchHeader on its answers; the publisher may then send what
// waits in the lane as a JSON array. See docs/wire.md.
const (
	// batchHeader says how many events an endpoint takes in one request.
	batchHeader = "X-Toot-Batch"
	batchType   = "application/vnd.toot.batch+json"
	// batchMax is how many events are taken, and sent, in one request.
	batchMax = 256
	// batchBytes is how large a batch is made: well below what peers take.
	batchBytes = 512 << 10
	// batchRefusal is how long an endpoint that refused a batch gets no other,
	// though its answers ask for them.
	batchRefusal = 10 * time.Minute
)

var (
	batchContentType = []string{batchType}
	batchMaxValue    = []string{strconv.Itoa(batchMax)}
)

// batchResult is what became of one event of a batch. Only those are listed
// for which it is not plain success.
type batchResult struct {
	Index       int    `json:"index"`
	Status      int    `json:"status"`
	Unsubscribe bool   `json:"unsubscribe,omitempty"`
	Detail      string `json:"detail,omitempty"`
}

type batchAnswer struct {
	Results []batchResult `json:"results"`
}

// takesBatch reads batchHeader: 0 for an endpoint that takes none.
func takesBatch(h http.Header) int {
	values := h[batchHeader]
	if len(values) == 0 {
		return 0
	}
	n, err := strconv.Atoi(values[0])
	if err != nil || n < 2 {
		return 0
	}
	return min(n, batchMax)
}

// nextBatch moves the jobs of the lane's next request from its queue to jobs:
// one, or as many as the endpoint takes. The dispatcher's lock is held.
func (l *lane) nextBatch(jobs []*job) []*job {
	most := max(l.batch, 1)
	for size := 0; len(jobs) < most && l.queue.len() > 0; {
		event := l.queue.peek().claim.Event
		size += len(event.Body)
		if len(jobs) > 0 && (size > batchBytes || len(event.Meta) > 0) {
			break
		}
		jobs = append(jobs, l.queue.pop())
		if len(event.Meta) > 0 {
			break // a trace has a request of its own
		}
	}
	return jobs
}

// deliverBatch POSTs the events of several jobs in one request.
func (a *App) deliverBatch(ctx context.Context, jobs []*job, verdicts []verdict) {
	size := 1
	for _, j := range jobs {
		size += len(j.claim.Event.Body) + 1
	}
	body := make([]byte, 0, size)
	for _, j := range jobs {
		body = append(body, ',')
		body = append(body, j.claim.Event.Body...)
	}
	body[0] = '['
	body = append(body, ']')
	v, answer := a.post(ctx, jobs[0].lane, "", body, batchContentType, nil)
	if refused := v.status >= 400 && v.status <= 499 && v.status != http.StatusRequestTimeout && v.status != http.StatusTooManyRequests ||
		v.action == finish && v.batch == 0; refused {
		// It takes no batches (any more): the events go one by one, and the
		// answers to those count.
		v = verdict{action: giveBack, status: v.status, refusesBatch: true}
	}
	var results batchAnswer
	if v.action == finish && (v.cutOff || len(answer) > 0 && json.Unmarshal(answer, &results) != nil) {
		// Which events it took, it alone knows.
		v = verdict{action: giveBack, status: v.status, refusesBatch: true}
	}
	for i := range verdicts {
		verdicts[i] = v
	}
	if v.action != finish || len(answer) == 0 {
		return
	}
	for _, r := range results.Results {
		if r.Index < 0 || r.Index >= len(verdicts) {
			continue
		}
		h := http.Header{}
		if r.Unsubscribe {
			h[unsubscribeHeader] = []string{"True"}
		}
		one := judge(r.Status, h, time.Now(), a.opts.MaxRetryAfter)
		one.batch, one.answered = v.batch, true
		verdicts[r.Index] = one
	}
}

// serveBatch takes in several events in one step: all are stored, or none.
// What is no event is refused by itself.
func (a *App) serveBatch(w http.ResponseWriter, r *http.Request, body []byte) {
	var answer batchAnswer
	item := &arrival{Waiter: coalesce.NewWaiter()}
	signed := signed{header: r.Header, body: body}
	err := eachElement(body, func(i int, element []byte) {
		id, channel, err := identify(element)
		if err != nil {
			answer.Results = append(answer.Results, batchResult{Index: i, Status: http.StatusUnprocessableEntity, Detail: err.Error()})
			return
		}
		subscriptions := a.subscriptionsTo(channel)
		if len(subscriptions) == 0 {
			answer.Results = append(answer.Results, batchResult{Index: i, Status: http.StatusOK, Unsubscribe: true})
			return
		}
		if err := signed.allows(subscriptions); err != nil {
			answer.Results = append(answer.Results, batchResult{Index: i, Status: http.StatusUnauthorized, Detail: err.Error()})
			return
		}
		item.add(&engine.Event{ID: id, Channel: channel, Body: element}, subscriptions)
	})
	if err != nil {
		problem(w, http.StatusBadRequest, "Expected a JSON array of events, but "+err.Error()+".")
		return
	}
	ends := a.beginReceive(r.Context(), item)
	if len(item.events) > 0 {
		err = a.callbacks.Do(r.Context(), item, &item.Waiter)
	}
	ends(err)
	if err != nil {
		signed.failed()
		a.log.Error("toot: can't store incoming events; their publisher will send them again", "events", len(item.events), "error", err)
		unavailable(w)
		return
	}
	if len(answer.Results) == 0 {
		w.WriteHeader(http.StatusOK)
		return
	}
	w.Header()["Content-Type"] = jsonContentType
	_ = json.NewEncoder(w).Encode(answer)
}

// beginReceive tells the observer, if there is one, of each event.
func (a *App) beginReceive(ctx context.Context, item *arrival) (end func(error)) {
	if a.opts.Observer == nil {
		return func(error) {}
	}
	ends := make([]func(StepResult), len(item.events))
	for i, e := range item.events {
		step := &Step{Name: StepReceive, EventID: e.ID, Channel: e.Channel, Header: http.Header{}}
		_, ends[i] = a.begin(ctx, step)
		e.Meta = encodeMeta(step.Header)
	}
	return func(err error) {
		result := StepResult{Outcome: OutcomeOK}
		if err != nil {
			result = StepResult{Outcome: OutcomeFailed, Reason: err.Error()}
		}
		for _, end := range ends {
			end(result)
		}
	}
}

var errNotArray = errors.New("the body is not a JSON array")

// eachElement calls fn with each element of a JSON array as it stands in body.
func eachElement(body []byte, fn func(i int, element []byte)) error {
	if !json.Valid(body) {
		return errNotJSON
	}
	pos := skipSpace(body, 0)
	if body[pos] != '[' {
		return errNotArray
	}
	pos = skipSpace(body, pos+1)
	for i := 0; body[pos] != ']'; i++ {
		end := skipValue(body, pos)
		fn(i, body[pos:end:end])
		pos = skipSpace(body, end)
		if body[pos] == ',' {
			pos = skipSpace(body, pos+1)
		}
	}
	return nil
}
