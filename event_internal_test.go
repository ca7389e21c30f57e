package toot

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// captured returns the body of a request captured from an original peer.
func captured(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "wire", name))
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	return body
}

func TestEscapedAndPlainCharactersAreTheSameEvent(t *testing.T) {
	var escaped, plain map[string]any
	a, b := captured(t, "event-escaped-basic-auth.http"), captured(t, "event-utf8-bigint-offset-time.http")
	for body, into := range map[*[]byte]*map[string]any{&a: &escaped, &b: &plain} {
		var e Event
		if err := json.Unmarshal(*body, &e); err != nil {
			t.Fatal(err)
		}
		if err := e.Decode(into); err != nil {
			t.Fatal(err)
		}
		if got := e.Get("big"); got != json.Number("12345678901234567890") {
			t.Errorf("Get(big) = %v", got)
		}
	}
	if escaped["naïve"] != plain["naïve"] || escaped["naïve"] != "é\u2028<&>" {
		t.Errorf("escaped %q, plain %q", escaped["naïve"], plain["naïve"])
	}
}
