package toot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Serve is Run together with the http.Server on which the app's services are
// mounted. It listens on server.Addr, with TLS if server.TLSConfig is set, and
// works until ctx ends or the server fails.
//
// When ctx ends, the server accepts no more connections and answers the
// requests that are under way, while Run drains; both have
// Options.DrainTimeout for it. Then Serve returns nil, or an error if requests
// or jobs had to be cut off. Nothing is lost either way. If server.Addr can't
// be listened on, it returns that error at once, and nothing was started.
//
// Publish and the services work until Close, so close the App after Serve has
// returned, and the engine after that. Like an http.Server, the server can't be
// used again.
func (a *App) Serve(ctx context.Context, server *http.Server) error {
	ordinary := ":http"
	if server.TLSConfig != nil {
		ordinary = ":https"
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", cmp.Or(server.Addr, ordinary))
	if err != nil {
		return fmt.Errorf("toot: serve: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	served, shut := make(chan error, 1), make(chan error, 1)
	go func() {
		served <- serve(server, listener)
		cancel() // without its services the app is not worth running
	}()
	go func() {
		<-ctx.Done()
		shut <- shutDown(server, a.opts.DrainTimeout)
	}()
	ran := a.Run(ctx)
	cancel() // Run may have ended for reasons of its own, such as Close
	return errors.Join(ran, <-shut, <-served)
}

func serve(server *http.Server, listener net.Listener) error {
	var err error
	if server.TLSConfig != nil {
		err = server.ServeTLS(listener, "", "")
	} else {
		err = server.Serve(listener)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("toot: serve: %w", err)
}

// shutDown lets requests that are under way be answered for as long as timeout.
func shutDown(server *http.Server, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		_ = server.Close()
		return fmt.Errorf("toot: requests were still being answered after the drain timeout of %v and were cut off: %w", timeout, err)
	}
	return nil
}
