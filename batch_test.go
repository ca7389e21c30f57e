package toot_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
)

const batchType = "application/vnd.toot.batch+json"

// batchPeer is an endpoint that takes batches, or says that it does.
type batchPeer struct {
	*httptest.Server
	mu      sync.Mutex
	seen    map[string]int // events taken
	largest int
	batches int
	single  int
	// answer answers a batch, unless nil, and says which events it took.
	answer func(w http.ResponseWriter, ids []string) (took []string)
}

func newBatchPeer(t *testing.T, header string) *batchPeer {
	t.Helper()
	p := &batchPeer{seen: map[string]int{}}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		type event struct{ ID string }
		var events []event
		if r.Header.Get("Content-Type") != batchType {
			var one event
			_ = json.Unmarshal(body, &one)
			p.single++
			p.seen[one.ID]++
			w.Header().Set("X-Toot-Batch", header)
			return
		}
		p.batches++
		must(t, json.Unmarshal(body, &events))
		p.largest = max(p.largest, len(events))
		ids := make([]string, len(events))
		for i, e := range events {
			ids[i] = e.ID
		}
		took := ids
		if p.answer != nil {
			took = p.answer(w, ids)
		} else {
			w.Header().Set("X-Toot-Batch", header)
		}
		for _, id := range took {
			p.seen[id]++
		}
	}))
	t.Cleanup(p.Close)
	return p
}

// backlog publishes events while nobody works, and then works until each was
// taken once.
func (p *batchPeer) backlog(t *testing.T, n *node, events int) {
	t.Helper()
	n.add(t, "a", p.URL)
	var messages []toot.Message
	for i := range events {
		messages = append(messages, toot.Message{Channel: "a", ID: fmt.Sprintf("e%d", i), Payload: i})
	}
	_, err := n.PublishAll(context.Background(), messages...)
	must(t, err)
	stop := start(t, n.App)
	n.settled(t)
	stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range events {
		if got := p.seen[fmt.Sprintf("e%d", i)]; got != 1 {
			t.Errorf("event %d was taken %d times", i, got)
		}
	}
	t.Logf("%d batches of up to %d events, %d single requests", p.batches, p.largest, p.single)
}

func TestBatchesGoToEndpointsThatTakeThem(t *testing.T) {
	t.Run("as many as it takes", func(t *testing.T) {
		p := newBatchPeer(t, "10")
		p.backlog(t, newNode(t, toot.Options{MaxDeliveriesPerURL: 2}, false), 500)
		if p.batches == 0 || p.largest > 10 || p.single > 250 {
			t.Errorf("%d batches of up to %d events, %d single requests", p.batches, p.largest, p.single)
		}
	})
	for _, header := range []string{"", "0", "1", "-5", "many", "1e3"} {
		t.Run(fmt.Sprintf("none to one that says %q", header), func(t *testing.T) {
			p := newBatchPeer(t, header)
			p.backlog(t, newNode(t, toot.Options{}, false), 50)
			if p.batches != 0 || p.single != 50 {
				t.Errorf("%d batches, %d single requests", p.batches, p.single)
			}
		})
	}
}

func TestBatchesAreGivenUpWhenRefused(t *testing.T) {
	for name, answer := range map[string]func(w http.ResponseWriter, ids []string) []string{
		"400": func(w http.ResponseWriter, _ []string) []string { w.WriteHeader(400); return nil },
		"404": func(w http.ResponseWriter, _ []string) []string { w.WriteHeader(404); return nil },
		"413": func(w http.ResponseWriter, _ []string) []string { w.WriteHeader(413); return nil },
		"415": func(w http.ResponseWriter, _ []string) []string { w.WriteHeader(415); return nil },
		"410": func(w http.ResponseWriter, _ []string) []string { w.WriteHeader(410); return nil },
		// A 2xx answer without the header is that of a peer which does not
		// know what it got.
		"200 by another program": func(http.ResponseWriter, []string) []string { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			p := newBatchPeer(t, "100")
			p.answer = answer
			n := newNode(t, toot.Options{MaxDeliveriesPerURL: 1, MaxRetries: -1}, false) // a refusal costs no retry
			p.backlog(t, n, 100)
			if p.batches != 1 || p.single != 100 {
				t.Errorf("%d batches, %d single requests", p.batches, p.single)
			}
		})
	}
}

func TestEachEventOfABatchHasAnOutcomeOfItsOwn(t *testing.T) {
	p := newBatchPeer(t, "100")
	failed := map[string]bool{}
	p.answer = func(w http.ResponseWriter, ids []string) (took []string) {
		w.Header().Set("X-Toot-Batch", "100")
		var results []string
		for i, id := range ids {
			switch {
			case id == "e7": // for good
				results = append(results, fmt.Sprintf(`{"index":%d,"status":410}`, i))
			case strings.HasSuffix(id, "3") && !failed[id]: // once
				failed[id] = true
				results = append(results, fmt.Sprintf(`{"index":%d,"status":500,"detail":"no"}`, i))
			default:
				took = append(took, id)
			}
		}
		results = append(results, `{"index":100000,"status":500}`, `{"index":-1,"status":500}`)
		fmt.Fprintf(w, `{"results":[%s]}`, strings.Join(results, ","))
		return took
	}
	n := newNode(t, toot.Options{MaxDeliveriesPerURL: 1, RetryDelay: quickRetries}, false)
	p.seen["e7"] = 1 // it will not be taken
	p.backlog(t, n, 100)
	letters := must2(n.DeadLetters(t.Context(), engine.DeadQuery{}))
	if len(letters) != 1 || letters[0].EventID != "e7" {
		t.Errorf("dead letters: %+v", letters)
	}
	if len(failed) == 0 {
		t.Error("none failed")
	}
}

func TestAppsExchangeBatches(t *testing.T) {
	var requests, batches int
	var mu sync.Mutex
	subscriber := newNode(t, toot.Options{}, true)
	var got recorder
	must(t, subscriber.AddSource("publisher", toot.Source{SubscriptionURL: subscriber.url, ChannelPrefix: prefix}))
	must(t, subscriber.Subscribe("publisher", "a", &got))
	service := subscriber.HandlerService()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		requests++
		if r.Header.Get("Content-Type") == batchType {
			batches++
		}
		mu.Unlock()
		service.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	publisher := newNode(t, toot.Options{ChannelPrefix: prefix}, false)
	publisher.add(t, prefix+"a", front.URL)
	publisher.add(t, prefix+"unwanted", front.URL)
	const events = 1000
	var messages []toot.Message
	for i := range events {
		messages = append(messages, toot.Message{Channel: "a", Payload: i})
		if i%100 == 50 {
			messages = append(messages, toot.Message{Channel: "unwanted"})
		}
	}
	_, err := publisher.PublishAll(t.Context(), messages...)
	must(t, err)
	stop := start(t, publisher.App)
	publisher.settled(t)
	got.wait(t, events)
	subscriber.settled(t)
	stop()
	count := map[string]int{}
	for _, e := range got.all() {
		count[string(e.Payload)]++
	}
	for i := range events {
		if n := count[fmt.Sprint(i)]; n != 1 {
			t.Errorf("event %d was handled %d times", i, n)
		}
	}
	if urls := must2(publisher.engine.Subscribers(t.Context(), prefix+"unwanted")); len(urls) != 0 {
		t.Errorf("still subscribed to what nobody handles: %v", urls)
	}
	if batches == 0 || requests > events/2 {
		t.Errorf("%d requests, %d of them batches, for %d events", requests, batches, events)
	}
}

func TestHandlerServiceTakesBatches(t *testing.T) {
	n := newNode(t, toot.Options{MaxEventBytes: 4096}, false)
	must(t, n.AddSource("publisher", toot.Source{SubscriptionURL: "http://127.0.0.1:1/"}))
	must(t, n.Subscribe("publisher", "a", &recorder{}))
	const good = `{"id":"1","payload":12345678901234567890,"channel":"a"}`
	for _, tc := range []struct {
		name, body string
		status     int
		answer     string
	}{
		{"all good", `[` + good + `,{"id":"2","channel":"a"}]`, 200, ``},
		{"empty", `[]`, 200, ``},
		{"with odd ones", ` [ {"id":"3","channel":"b"} , 7 , ` + good + ` , {"id":"4"}, {"id":"5","channel":"a"} ] `, 200,
			`{"results":[{"index":0,"status":200,"unsubscribe":true},` +
				`{"index":1,"status":422,"detail":"the body is not a JSON object"},` +
				`{"index":3,"status":422,"detail":"the event has no \"channel\", or one that is not a non-empty string"}]}`},
		{"with texts that can't be passed on", `[{"id":"6","payload":"\ud800","channel":"a"},` + good + `,` + "{\"id\":\"\xff\",\"channel\":\"a\"}]", 200,
			`{"results":[{"index":0,"status":422,"detail":"a text has half of a surrogate pair (\\ud800 to \\udfff) without the other half, which is no character"},` +
				`{"index":2,"status":422,"detail":"the body is not UTF-8"}]}`},
		{"no array", good, 400, ""},
		{"no JSON", `[`, 400, ""},
		{"too large", `[` + strings.Repeat(" ", 5000) + `]`, 413, ""},
	} {
		a := n.request(t, "POST", "/callbacks", tc.body, "Content-Type", batchType)
		switch {
		case a.status != tc.status:
			t.Errorf("%s: answered %d %s", tc.name, a.status, a.body)
		case a.status >= 400:
			a.isProblem(t, tc.name)
		case strings.TrimSpace(a.body) != tc.answer || a.header.Get("X-Toot-Batch") == "":
			t.Errorf("%s: answered %v\n got %s\nwant %s", tc.name, a.header, a.body, tc.answer)
		}
	}
	res, err := n.engine.Claim(t.Context(), engine.ClaimRequest{Kind: engine.Handle, Max: 10, MaxPerLane: 10, Lease: 1e9})
	must(t, err)
	if len(res.Jobs) != 3 || string(res.Jobs[0].Event.Body) != good {
		t.Errorf("stored: %+v", res.Jobs)
	}
	must(t, n.engine.Close())
	if a := n.request(t, "POST", "/callbacks", `[`+good+`]`, "Content-Type", batchType); a.status != 503 {
		t.Errorf("without a store: %+v", a)
	}
}
