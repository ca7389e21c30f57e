package examples

import (
	"net/http"
	"os"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/auth"
	"github.com/watermarkchurch/toot-go/engine"
)

func withLimits(mux http.Handler) *http.Server {
	server := &http.Server{
		Addr:              ":8443",
		Handler:           mux,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second, // replaces Options.ReadTimeout
		WriteTimeout:      60 * time.Second, // above the time that the store may take
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	return server
}

func onTheInternet(store engine.Engine, mux *http.ServeMux, password string) (*toot.App, error) {
	credentials, err := auth.NewCredentials(store, &auth.Options{ChannelPrefix: "org.example.publisher."})
	if err != nil {
		return nil, err
	}
	app, err := toot.New(store, &toot.Options{
		ChannelPrefix: "org.example.publisher.",
		CallbackURL:   "https://publisher:" + password + "@app.example.org/callbacks",
		AllowCallback: toot.PublicCallbacks(),
	})
	if err != nil {
		return nil, err
	}
	mux.Handle("/subscriptions", credentials.BasicAuth(app.SubscriptionsService()))
	mux.Handle("/callbacks", credentials.BasicAuth(app.HandlerService()))
	return app, app.AddSource("shop", toot.Source{
		SubscriptionURL: "https://name:password@shop.example.org/subscriptions",
		ChannelPrefix:   "org.example.shop.",
		SigningSecrets:  []string{os.Getenv("SHOP_SECRET")}, // from signing.NewSecret
	})
}
