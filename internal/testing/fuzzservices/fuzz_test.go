// Package fuzzservices_test feeds the HTTP services of an app with whatever a
// fuzz test comes up with. It is a package of its own so as to be built without
// SQLite: a fuzz test is built with all that its package's tests import, anew and
// instrumented, which takes a minute for SQLite.
package fuzzservices_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/memengine"
)

const prefix = "org.example.publisher."

func FuzzServices(f *testing.F) {
	for _, body := range []string{`{"id":"1","channel":"` + prefix + `a"}`, `{"callback_url":"https://a.example.org/","channel":"c"}`, `[`, ``,
		`[{"id":"1","channel":"` + prefix + `a"},7,{"channel":"b"},{"id":"\n","channel":"` + prefix + `a"}]`, `[` + strings.Repeat("0,", 256) + `0]`,
		`{"channel":"` + prefix + `a","id":"` + strings.Repeat("x", 1025) + `"}`, `{"callback_url":"https://a.example.org/?a b","channel":"c"}`} {
		f.Add([]byte(body))
	}
	app, err := toot.New(memengine.NewStore().Open(engine.Retention{}), &toot.Options{CallbackURL: "http://127.0.0.1:1/callbacks", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := app.Close(); err != nil {
			f.Error(err)
		}
	})
	if err := app.AddSource("publisher", toot.Source{SubscriptionURL: "http://127.0.0.1:1/", ChannelPrefix: prefix}); err != nil {
		f.Fatal(err)
	}
	if err := app.Subscribe("publisher", "a", toot.HandlerFunc(func(context.Context, *toot.Event) error { return nil })); err != nil {
		f.Fatal(err)
	}
	callbacks, subscriptions := app.HandlerService(), app.SubscriptionsService()
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, tc := range []struct {
			service     http.Handler
			contentType string
			want        []int
		}{
			{callbacks, "application/json", []int{200, 400, 413, 422}},
			{callbacks, "application/vnd.toot.batch+json", []int{200, 400, 413, 422}},
			{subscriptions, "application/json", []int{201, 204, 413, 422}},
		} {
			rec := httptest.NewRecorder()
			req := httptest.NewRequestWithContext(t.Context(), "POST", "/", bytes.NewReader(body))
			req.Header.Set("Content-Type", tc.contentType)
			tc.service.ServeHTTP(rec, req)
			if rec.Body.Len() > 8*len(body)+64<<10 {
				t.Errorf("%d bytes were answered with %d", len(body), rec.Body.Len())
			}
			if !slices.Contains(tc.want, rec.Code) {
				t.Errorf("%q was answered with %d %s", body, rec.Code, rec.Body)
			}
		}
	})
}
