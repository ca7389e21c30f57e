// Package auth puts HTTP Basic authentication in front of toot's services, and
// adds it to the requests that an app makes. The users are in the store, where
// the Ruby gem toot-auth keeps them, too.
//
//	credentials, err := auth.NewCredentials(eng, &auth.Options{ChannelPrefix: "org.example.publisher."})
//	mux.Handle("/subscriptions", credentials.BasicAuth(app.SubscriptionsService()))
//	mux.Handle("/callbacks", credentials.BasicAuth(app.HandlerService()))
//
// The other side sends a user name and a password with every request:
//
//	client := &http.Client{Transport: auth.BasicTransport(username, password, nil)}
//	app, err := toot.New(eng, &toot.Options{Client: client})
//
// or, to one peer only, in that peer's URL: https://user:password@host/….
//
// `toot auth` manages the users on the command line. docs/security.md says what
// this protects from, and what it does not.
package auth
