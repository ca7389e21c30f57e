package wire

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTextThatCanNotBePassedOn(t *testing.T) {
	for body, want := range map[string]error{
		`{"a":"\ud83d\ude00"}`:                nil,
		`{"a":"\uD83D\uDE00\ufffd"}`:          nil,
		`{"a":"\\ud800"}`:                     nil, // a backslash and letters
		`{"a":"\\\ud83d\ude00\\"}`:            nil,
		`{"a":"\n\"\u0041\/"}`:                nil,
		`{"a":"😀é` + "\u2028" + `"}`:          nil,
		`{"a":"\ud800"}`:                      ErrSurrogate,
		`{"a":"\uDBFF"}`:                      ErrSurrogate,
		`{"a":"\udc00"}`:                      ErrSurrogate,
		`{"a":"\ude00\ud83d"}`:                ErrSurrogate,
		`{"a":"\ud83dx\ude00"}`:               ErrSurrogate,
		`{"a":"\ud83d\\ude00"}`:               ErrSurrogate,
		`{"a":"\ud83d\ud83d\ude00"}`:          ErrSurrogate,
		`{"a":"\ud83d\u0041"}`:                ErrSurrogate,
		`{"a":"\\\ud800"}`:                    ErrSurrogate,
		`{"\udfff":1}`:                        ErrSurrogate,
		`[["\ud83d\ude00", "\ud83d` + `\n"]]`: ErrSurrogate,
		"{\"a\":\"\xff\"}":                    ErrNotUTF8,
		"{\"a\":\"\xed\xa0\x80\"}":            ErrNotUTF8, // a surrogate in three bytes
		`{`:                                   nil,
		`\`:                                   nil,
		`\u12`:                                nil,
		``:                                    nil,
	} {
		if err := CheckText([]byte(body)); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", body, err, want)
		}
	}
}

// FuzzCheckText: what encoding/json would change is what is found.
func FuzzCheckText(f *testing.F) {
	for _, s := range []string{`\ud83d\ude00`, `\ud800`, `\\ud800`, `a\n\u0041`, "\xff", `\ufffd`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, inner string) {
		body := []byte(`"` + inner + `"`)
		var text string
		if json.Unmarshal(body, &text) != nil || !utf8.ValidString(inner) {
			return
		}
		written := strings.Count(inner, "\uFFFD") + strings.Count(strings.ToLower(strings.ReplaceAll(inner, `\\`, "")), `\ufffd`)
		changed := strings.Count(text, "\uFFFD") > written
		if got := CheckText(body) != nil; got != changed {
			t.Errorf("%s: found %t, and encoding/json makes %q of it", body, got, text)
		}
	})
}

func TestRegistrations(t *testing.T) {
	want := Registration{CallbackURL: "https://a.example/cb", Channel: "c", SigningSecret: "whsec_x"}
	for _, body := range []string{
		`{"callback_url":"https://a.example/cb","channel":"c","signing_secret":"whsec_x"}`,
		` { "more" : [1] , "channel" : "\u0063" , "callback_url" : "https:\/\/a.example/cb", "signing_secret" : "whsec_x" } `,
		`{"callback_url":"https://a.example/cb","channel":"c","signing_secret":"whsec_x","Channel":"other","CALLBACK_URL":"other"}`,
	} {
		if got, err := ParseRegistration([]byte(body)); err != nil || got != want {
			t.Errorf("%s: %+v, %v", body, got, err)
		}
	}
	for body, want := range map[string]Registration{
		`{}`:                                   {},
		`{"Channel":"c","Callback_url":"x"}`:   {},
		`{"channel":null,"callback_url":null}`: {},
	} {
		if got, err := ParseRegistration([]byte(body)); err != nil || got != want {
			t.Errorf("%s: %+v, %v", body, got, err)
		}
	}
	for _, body := range []string{
		``, `{`, `[]`, `null`, `"channel"`, `{"channel":"c"} x`, `{"channel":7}`, `{"callback_url":["x"]}`, `{"signing_secret":false}`,
		`{"channel":"\ud800"}`, "{\"channel\":\"\xff\"}",
	} {
		if got, err := ParseRegistration([]byte(body)); err == nil {
			t.Errorf("%s: %+v", body, got)
		}
	}
}
