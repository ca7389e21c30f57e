// Package auth puts HTTP Basic authentication in front of toot's services and
// on their requests, with the user names in the store, where the Ruby gem
// toot-auth has them too.
//
//	credentials, err := auth.NewCredentials(eng, &auth.Options{ChannelPrefix: "org.example.publisher."})
//	mux.Handle("/subscriptions", credentials.BasicAuth(app.SubscriptionsService()))
//	mux.Handle("/callbacks", credentials.BasicAuth(app.HandlerService()))
//
// The other side sends them with every request:
//
//	client := &http.Client{Transport: auth.BasicTransport(username, password, nil)}
//	app, err := toot.New(eng, &toot.Options{Client: client})
//
// or with those to one peer only, in its URL: https://user:password@host/….
//
// `toot auth` manages the user names on the command line. docs/security.md
// says what this stands against, and what it does not.
package auth
