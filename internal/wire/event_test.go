package wire

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// readWire returns a request captured from an original peer.
func readWire(t testing.TB, name string) (*http.Request, []byte) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "testdata", "wire", name))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		t.Fatal(err)
	}
	return req, body
}

func TestOriginalEventsAreUnderstood(t *testing.T) {
	utc := time.Date(2026, 11, 23, 9, 11, 13, 0, time.UTC)
	const channel = "org.example.publisher.users.updated.v1"
	const utf8Payload = "{\"id\":123,\"naïve\":\"é\u2028<&>\",\"n\":null,\"f\":1.5,\"big\":12345678901234567890}"
	for _, tc := range []struct{ file, id, payload string }{
		{"event-utc-time.http", "448d059a-3c9e-49b5-af46-08f5f09ed9a4", `{"id":1}`},
		{"event-utc-time-basic-auth.http", "9097d2cc-16bb-449a-9b7e-d627f94dc524", `{"id":1}`},
		{"event-utf8-bigint-offset-time.http", "85f05e61-9b14-4062-a0a6-f9dd7272587d", utf8Payload},
		{"event-escaped-basic-auth.http", "ff1928d6-d74a-4f0d-9b57-194d37609843", "{\"id\":123,\"naïve\":\"é\\u2028\\u003c\\u0026\\u003e\",\"n\":null,\"f\":1.5,\"big\":12345678901234567890}"},
	} {
		_, body := readWire(t, tc.file)
		e, err := ParseEvent(body)
		if err != nil {
			t.Errorf("%s: %v", tc.file, err)
			continue
		}
		if e.ID != tc.id || e.Channel != channel || !e.Timestamp.Equal(utc) {
			t.Errorf("%s: got ID %q, channel %q, timestamp %v", tc.file, e.ID, e.Channel, e.Timestamp)
		}
		if string(e.Payload) != tc.payload {
			t.Errorf("%s: payload\n got %s\nwant %s", tc.file, e.Payload, tc.payload)
		}
		if !bytes.Contains(body, e.Payload) {
			t.Errorf("%s: the payload's bytes were changed", tc.file)
		}
		if again := e.Append(nil); !bytes.Equal(again, body) {
			t.Errorf("%s: sent on\n got %s\nwant %s", tc.file, again, body)
		}
	}
}

func TestTimestamps(t *testing.T) {
	utc := time.Date(2026, 11, 23, 9, 11, 13, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2026-11-23 09:11:13 +0000":     utc,
		"2026-11-23 03:11:13 -0600":     utc,
		"2026-11-23 09:11:13 UTC":       utc,
		"2026-11-23T09:11:13Z":          utc,
		"2026-11-23T10:11:13+01:00":     utc,
		"2026-11-23T09:11:13.250Z":      utc.Add(250 * time.Millisecond),
		"2026-11-23 09:11:13.250+00:00": utc.Add(250 * time.Millisecond),
		"2026-11-23 09:11:13 CST":       {}, // could be one of three
		"yesterday":                     {},
		"":                              {},
	} {
		if got := parseTimestamp(text); !got.Equal(want) {
			t.Errorf("parseTimestamp(%q) = %v, want %v", text, got, want)
		}
	}
}

func TestOddEventsAreNotLost(t *testing.T) {
	for body, check := range map[string]func(Event) bool{
		`{"channel":"c","id":"x","timestamp":"soon","payload":1}`: func(e Event) bool {
			return e.Timestamp.IsZero() && e.TimestampText == "soon" && string(e.Payload) == "1"
		},
		`{"channel":"c"}`:                              func(e Event) bool { return len(e.ID) == 36 && string(e.Payload) == "{}" },
		`{"channel":"c","id":7,"timestamp":12}`:        func(e Event) bool { return e.ID == "7" && e.TimestampText == "12" },
		`{"channel":"c","payload":null}`:               func(e Event) bool { return string(e.Payload) == "null" },
		`{"channel":"a","channel":"b"}`:                func(e Event) bool { return e.Channel == "b" },
		"\n" + `{ "channel" : "\u0063" , "x" : [1] } `: func(e Event) bool { return e.Channel == "c" },
		`{"x":{"channel":"no"},"channel":"c"}`:         func(e Event) bool { return e.Channel == "c" },
		`{"\u0063hannel":"c"}`:                         func(e Event) bool { return e.Channel == "c" },
		`{"channel":"c","payload":"}]\\\""}`:           func(e Event) bool { return string(e.Payload) == `"}]\\\""` },
	} {
		e, err := ParseEvent([]byte(body))
		if err != nil || !check(e) {
			t.Errorf("%s: got %+v, %v", body, e, err)
		}
	}
}

func TestWhatIsNoEvent(t *testing.T) {
	for body, want := range map[string]error{
		``:                            ErrNotJSON,
		`{`:                           ErrNotJSON,
		`{"channel":"c"} x`:           ErrNotJSON,
		`[]`:                          ErrNotObject,
		`"channel"`:                   ErrNotObject,
		`null`:                        ErrNotObject,
		`{}`:                          ErrNoChannel,
		`{"channel":""}`:              ErrNoChannel,
		`{"channel":null}`:            ErrNoChannel,
		`{"channel":7,"payload":{}}`:  ErrNoChannel,
		`{"Channel":"c","payload":1}`: ErrNoChannel,
	} {
		if _, err := ParseEvent([]byte(body)); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", body, err, want)
		}
	}
}

func TestWhatAnotherProgramStoredDoesNoHarm(t *testing.T) {
	_, body := readWire(t, "event-escaped-basic-auth.http")
	for n := range body {
		if e, err := ParseStored("id", "channel", body[:n:n]); err == nil {
			t.Errorf("%s: %+v", body[:n], e)
		}
	}
	if e, err := ParseStored("id", "channel", body); err != nil || e.ID != "id" || e.Channel != "channel" || len(e.Payload) < 10 || e.Timestamp.IsZero() {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestPayloads(t *testing.T) {
	for _, tc := range []struct {
		payload any
		want    string
	}{
		{nil, `{}`},
		{json.RawMessage(nil), `{}`},
		{json.RawMessage(`null`), `null`},
		{json.RawMessage(`{"b":1,  "a":12345678901234567890}`), `{"b":1,  "a":12345678901234567890}`},
		{map[string]any{"html": "<&>"}, `{"html":"<&>"}`},
		{"text", `"text"`},
		{struct {
			ID int `json:"id"`
		}{7}, `{"id":7}`},
	} {
		got, err := EncodePayload(tc.payload)
		if err != nil || string(got) != tc.want {
			t.Errorf("EncodePayload(%v) = %s, %v, want %s", tc.payload, got, err, tc.want)
		}
	}
	for _, bad := range []any{json.RawMessage(`{`), json.RawMessage("\"\xff\""), json.RawMessage(`{"a":"\ud800"}`), map[string]any{"a": json.RawMessage(`"\udfff"`)}, make(chan int), func() {}} {
		if _, err := EncodePayload(bad); err == nil {
			t.Errorf("EncodePayload(%v): no error", bad)
		}
	}
}

func TestChannels(t *testing.T) {
	for _, ok := range []string{"a", "org.example.users.updated.v1", "naïve channel/1", strings.Repeat("x", maxChannelBytes)} {
		if err := CheckChannel(ok); err != nil {
			t.Errorf("CheckChannel(%q) = %v", ok, err)
		}
	}
	for _, bad := range []string{"", "a\nb", "a\x00", "a\x7f", "a\u0085b", "a\u2028b", "a\xff", strings.Repeat("x", maxChannelBytes+1)} {
		if err := CheckChannel(bad); err == nil {
			t.Errorf("CheckChannel(%q): no error", bad)
		}
	}
}

// What another program calls an event's members is read whatever escapes it uses.
func TestEscapedNamesOfMembers(t *testing.T) {
	for name, is := range map[string]bool{
		`channel`: true, `\u0063hannel`: true, `\u0063\u0068\u0061\u006e\u006E\u0065\u006c`: true,
		`\u0163hannel`: false, `c\hannel`: false, `channel\n`: false, `\u0043hannel`: false, `chan\u0000nel`: false, `channel\u0020`: false,
		`\ud83d\ude00`: false, `\u0063hannels`: false, `\u0070\u0061yloadpayload`: false,
	} {
		body := []byte(`{"` + name + `":"c"}`)
		if !json.Valid(body) {
			continue
		}
		if _, channel, _ := Identify(body); (channel == "c") != is {
			t.Errorf("%s: the channel is %q", name, channel)
		}
	}
}

// A long text takes time in proportion to its length: no byte of it is looked at
// again for each escape.
func TestTextsOfManyEscapes(t *testing.T) {
	for _, s := range []string{`"`, `\"`, `\\`, `a\"b`, `\\\"`, `\u0022`} {
		for _, n := range []int{0, 1, 2, 100} {
			body := []byte(`{"x":"` + strings.ReplaceAll(strings.Repeat(s, n), `"`, `\"`) + `","channel":"c"}`)
			if !json.Valid(body) {
				continue
			}
			if _, channel, err := Identify(body); channel != "c" || err != nil {
				t.Errorf("%s: %q, %v", body, channel, err)
			}
		}
	}
	body := []byte(`{"channel":"c","id":"` + strings.Repeat(`\n`, 8<<20) + `"}`) // minutes, if each escape cost a look at the rest
	if _, channel, err := Identify(body); channel != "c" || err == nil {
		t.Errorf("%q, %v", channel, err)
	}
}

// FuzzParseEvent checks the hand-written reader against encoding/json.
func FuzzParseEvent(f *testing.F) {
	for _, name := range []string{"event-utc-time.http", "event-escaped-basic-auth.http", "event-utf8-bigint-offset-time.http"} {
		_, body := readWire(f, name)
		f.Add(body)
	}
	f.Add([]byte(`{"channel":"c","payload":[{"a":"\\\""},[],{}],"id":null}`))
	f.Add([]byte(`{"\u0063hannel":"c","\u0069\u0064":"a\u0000","i\d":1,"\u0169d":2}`))
	f.Add([]byte(`{"channel":"c","id":"` + strings.Repeat(`\n`, maxIDBytes+1) + `"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := ParseEvent(body)
		if err != nil {
			var object map[string]json.RawMessage
			if json.Unmarshal(body, &object) == nil && object != nil && len(object["channel"]) > 2 && object["channel"][0] == '"' {
				t.Fatalf("refused an event: %v", err)
			}
			return
		}
		switch id, channel, err := Identify(body); {
		case err != nil && CheckEventID(e.ID) == nil:
			t.Fatalf("%v, but the ID is %q", err, e.ID)
		case err == nil && (CheckEventID(e.ID) != nil || len(e.ID) != 36 && id != e.ID):
			t.Fatalf("identified as %q, want %q", id, e.ID)
		case channel != e.Channel && len(e.Channel) <= maxChannelBytes:
			t.Fatalf("identified on %q, want %q", channel, e.Channel)
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatalf("took for an event what is no JSON object: %v", err)
		}
		if payload, ok := want["payload"]; ok && utf8.Valid(body) && !bytes.Equal(payload, e.Payload) {
			t.Fatalf("payload %s, want %s", e.Payload, payload)
		}
		sent := e.Append(nil)
		again, err := ParseEvent(sent)
		if err != nil {
			t.Fatalf("sent on as %s: %v", sent, err)
		}
		if again.ID != e.ID && utf8.ValidString(e.ID) || !bytes.Equal(again.Payload, e.Payload) {
			t.Fatalf("sent on as %s", sent)
		}
	})
}

// FuzzSplitBatch checks the hand-written reader against encoding/json.
func FuzzSplitBatch(f *testing.F) {
	for _, body := range []string{`[]`, ` [ {"id":"1","channel":"c"} , 7, "],[" ] `, `{}`, `[`, "[" + strings.Repeat("0,", BatchMax) + "0]"} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := SplitBatch(body)
		var want []json.RawMessage
		isArray := json.Unmarshal(body, &want) == nil && want != nil
		if (err == nil) != (isArray && len(want) <= BatchMax) || errors.Is(err, ErrTooMany) != (isArray && len(want) > BatchMax) {
			t.Fatalf("%d elements, %v, want %d", len(got), err, len(want))
		}
		if err != nil {
			return
		}
		answer := BatchAnswer{}
		for i, element := range got {
			if !bytes.Equal(element, want[i]) {
				t.Fatalf("element %d is %s, want %s", i, element, want[i])
			}
			answer.Results = append(answer.Results, BatchResult{Index: i, Status: 422, Unsubscribe: i%2 == 0, Detail: string(element)})
		}
		var written bytes.Buffer
		var again BatchAnswer
		if err := answer.Write(&written); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(written.Bytes(), &again); err != nil || len(again.Results) != len(got) {
			t.Fatalf("answered with %s, %v", &written, err)
		}
		for i, r := range again.Results {
			if want := answer.Results[i]; r != want && utf8.ValidString(want.Detail) {
				t.Fatalf("result %d is %+v, want %+v", i, r, want)
			}
		}
	})
}
