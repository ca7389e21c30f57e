package signing

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/watermarkchurch/toot-go/internal/wire"
)

// The specification's own.
const (
	vectorSecret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	vectorID        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	vectorTime      = 1614265330
	vectorBody      = `{"test": 2432232314}`
	vectorSignature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

func TestSignaturesAreTheSpecifications(t *testing.T) {
	keys, err := ParseSecrets([]string{vectorSecret})
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	Sign(h, keys, vectorID, time.Unix(vectorTime, 0), []byte(vectorBody))
	if h.Get("webhook-id") != vectorID || h.Get("webhook-timestamp") != fmt.Sprint(vectorTime) || h.Get("webhook-signature") != vectorSignature {
		t.Errorf("signed as %v", h)
	}
	if _, err := verify(keys, h, []byte(vectorBody), time.Unix(vectorTime+299, 0)); err != nil {
		t.Error(err)
	}
}

// The specification's library and we take each other's.
func TestSignaturesAreThoseOfTheLibrary(t *testing.T) {
	for range 20 {
		secret, id, body := NewSecret(), wire.NewEventID(), []byte(`{"payload":"é\u2028"}`)
		theirs, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := ParseSecrets([]string{NewSecret(), secret})
		if err != nil {
			t.Fatal(err)
		}
		h := http.Header{}
		Sign(h, keys, id, time.Now(), body)
		if err := theirs.Verify(body, h); err != nil {
			t.Errorf("ours: %v", err)
		}
		now := time.Now()
		signature, err := theirs.Sign(id, now, body)
		if err != nil {
			t.Fatal(err)
		}
		h = http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {fmt.Sprint(now.Unix())}, "Webhook-Signature": {signature}}
		if _, err := verify(keys, h, body, now); err != nil {
			t.Errorf("theirs: %v", err)
		}
	}
}

func TestSignaturesThatAreRefused(t *testing.T) {
	old, current := NewSecret(), vectorSecret
	keys, _ := ParseSecrets([]string{current})
	other, _ := ParseSecrets([]string{old})
	now := time.Unix(vectorTime, 0)
	for _, tc := range []struct {
		name   string
		change func(h http.Header)
		body   string
		at     time.Duration
		ok     bool
	}{
		{"as it must be", func(http.Header) {}, vectorBody, 0, true},
		{"after five minutes", func(http.Header) {}, vectorBody, 5 * time.Minute, true},
		{"five minutes early", func(http.Header) {}, vectorBody, -5 * time.Minute, true},
		{"too late", func(http.Header) {}, vectorBody, 301 * time.Second, false},
		{"too early", func(http.Header) {}, vectorBody, -301 * time.Second, false},
		{"another body", func(http.Header) {}, vectorBody + " ", 0, false},
		{"no body", func(http.Header) {}, "", 0, false},
		{"another id", func(h http.Header) { h.Set("webhook-id", "other") }, vectorBody, 0, false},
		{"another time", func(h http.Header) { h.Set("webhook-timestamp", fmt.Sprint(vectorTime+1)) }, vectorBody, 0, false},
		{"no id", func(h http.Header) { h.Del("webhook-id") }, vectorBody, 0, false},
		{"no time", func(h http.Header) { h.Del("webhook-timestamp") }, vectorBody, 0, false},
		{"no signature", func(h http.Header) { h.Del("webhook-signature") }, vectorBody, 0, false},
		{"an empty signature", func(h http.Header) { h.Set("webhook-signature", "v1,") }, vectorBody, 0, false},
		{"another version", func(h http.Header) { h.Set("webhook-signature", strings.Replace(vectorSignature, "v1,", "v2,", 1)) }, vectorBody, 0, false},
		{"a signature of something else", func(h http.Header) { Sign(h, keys, "x", now, []byte("x")); h.Set("webhook-id", vectorID) }, vectorBody, 0, false},
		{"another secret", func(h http.Header) { Sign(h, other, vectorID, now, []byte(vectorBody)) }, vectorBody, 0, false},
		{"an old secret and the current", func(h http.Header) { Sign(h, append(other, keys...), vectorID, now, []byte(vectorBody)) }, vectorBody, 0, true},
		{"among others", func(h http.Header) {
			h.Set("webhook-signature", "v1a,x v1,x  v2,y "+vectorSignature+" v1,")
		}, vectorBody, 0, true},
		{"behind too many", func(h http.Header) {
			h.Set("webhook-signature", strings.Repeat("v1,x ", maxSignatures)+vectorSignature)
		}, vectorBody, 0, false},
		{"a time that is none", func(h http.Header) { h.Set("webhook-timestamp", "soon") }, vectorBody, 0, false},
		{"a negative time", func(h http.Header) { h.Set("webhook-timestamp", "-1614265330") }, vectorBody, 0, false},
		{"a huge time", func(h http.Header) { h.Set("webhook-timestamp", "99999999999999999999") }, vectorBody, 0, false},
		{"a long id", func(h http.Header) { h.Set("webhook-id", strings.Repeat("x", 257)) }, vectorBody, 0, false},
	} {
		h := http.Header{}
		Sign(h, keys, vectorID, now, []byte(vectorBody))
		tc.change(h)
		_, err := verify(keys, h, []byte(tc.body), now.Add(tc.at))
		if (err == nil) != tc.ok || err != nil && !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

func TestSecretsThatAreRefused(t *testing.T) {
	encode := func(n int) string { return "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, n)) }
	for secret, ok := range map[string]bool{
		"": false, "whsec_": false, "whsec_!": false, encode(23): false, encode(24): true, encode(64): true, encode(65): false,
		vectorSecret: true, strings.TrimPrefix(vectorSecret, "whsec_"): true, "whpk_" + vectorSecret[6:]: false, NewSecret(): true,
	} {
		if _, err := NewVerifier(secret); (err == nil) != ok {
			t.Errorf("%q: %v", secret, err)
		}
	}
	if _, err := NewVerifier(); err == nil {
		t.Error("no secret was taken")
	}
}

// A replay is refused for as long as its timestamp would do; a retry is none.
func TestReplays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, current := NewSecret(), NewSecret()
		s, _ := NewVerifier(current, old)
		signer, _ := ParseSecrets([]string{current, old})
		body := []byte(vectorBody)
		signedAt := func(at time.Time) http.Header {
			h := http.Header{}
			Sign(h, signer, vectorID, at, body)
			return h
		}
		early := signedAt(time.Now().Add(4*time.Minute + 3*time.Second)) // its clock is ahead
		if _, err := s.Check(early, body); err != nil {
			t.Fatal(err)
		}
		for range 90 { // nine minutes: while its timestamp is good
			if _, err := s.Check(early, body); !errors.Is(err, ErrRefused) {
				t.Fatalf("a replay: %v", err)
			}
			stripped := early.Clone() // of one of its signatures
			_, second, _ := strings.Cut(early.Get("webhook-signature"), " ")
			stripped.Set("webhook-signature", second)
			if _, err := s.Check(stripped, body); !errors.Is(err, ErrRefused) {
				t.Fatalf("a replay with one of two signatures: %v", err)
			}
			time.Sleep(6 * time.Second)
			if _, err := s.Check(signedAt(time.Now()), body); err != nil {
				t.Fatalf("a retry: %v", err)
			}
		}
	})
}

func TestReplaysAreRememberedInBoundedMemory(t *testing.T) {
	s, _ := NewVerifier(vectorSecret)
	now := time.Now()
	var r Receipt
	for i := range 3 * maxReplays {
		r[0], r[1], r[2], r[3] = byte(i), byte(i>>8), byte(i>>16), byte(i>>24)
		if !s.remember(r, now) {
			t.Fatal("a new request is taken for a replay")
		}
	}
	if n := len(s.recent) + len(s.before); n > 2*maxReplays {
		t.Errorf("%d requests are remembered", n)
	}
	if s.remember(r, now) {
		t.Error("the last request is forgotten")
	}
}

func TestSignedIDs(t *testing.T) {
	for id, plain := range map[string]bool{
		wire.NewEventID(): true, "order-7_A": true, "order.7": false, "a b": false, "": false, "é": false, "a\nb": false, strings.Repeat("x", 129): false,
	} {
		got := plainID(id)
		if (got == id) != plain || got != plainID(id) || strings.ContainsAny(got, ".\n ") || len(got) > 128 {
			t.Errorf("%q is signed as %q", id, got)
		}
	}
}

func FuzzSignatureHeaders(f *testing.F) {
	f.Add(vectorID, fmt.Sprint(vectorTime), vectorSignature, []byte(vectorBody))
	f.Add("", "", "", []byte(nil))
	f.Add("a.b", "1", "v1,", []byte("x"))
	f.Add(vectorID, "01614265330", "v1, v1,"+vectorSignature, []byte(vectorBody))
	keys, _ := ParseSecrets([]string{vectorSecret})
	f.Fuzz(func(t *testing.T, id, timestamp, signature string, body []byte) {
		h := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {timestamp}, "Webhook-Signature": {signature}}
		_, err := verify(keys, h, body, time.Unix(vectorTime, 0))
		right := "v1," + string(mac(keys[0], id, timestamp, body))
		if err == nil && !strings.Contains(" "+signature+" ", " "+right+" ") {
			t.Errorf("%q, %q, %q were taken for a signature of %q", id, timestamp, signature, body)
		}
	})
}
