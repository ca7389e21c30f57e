package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/cmd/toot/internal/listen"
	"github.com/watermarkchurch/toot-go/cmd/toot/internal/peer"
	"github.com/watermarkchurch/toot-go/cmd/toot/internal/ui"
	"github.com/watermarkchurch/toot-go/internal/wire"
)

func (c *command) listen() *cobra.Command {
	var p publisherFlag
	var l listener
	cmd := &cobra.Command{
		Use:   "listen --channel CHANNEL…",
		Short: "Subscribe for a while, and see or pass on what arrives",
		Long: `Subscribes to channels of a publisher with a callback URL of its own, prints each
event as it arrives, and unsubscribes at the end. On a terminal events are laid
out to be read; otherwise each is one line of JSON, as it came.

An event is accepted once --forward and --exec have succeeded; until then its
publisher keeps it and sends it again. At the end the publisher is asked to discard
what it still keeps for this callback URL. Events that are published while nobody
listens are not sent later.

The callback URL ends in a secret that is new each time, so that nobody else can
send events here. Behind a proxy or a tunnel, say with --callback-url at which URL
the publisher reaches --listen; the secret is added to its path, and the proxy may
pass the whole path on or the secret alone. A URL whose path ends in 20 characters or
more is used as it is: that is taken for a secret of your own.`,
		Example: `  toot listen --channel users.updated.v1
  toot listen -c users.updated.v1 --listen :9000 \
      --callback-url https://me.example.org/toot \
      --publisher https://users.example.org/subscriptions
  toot listen -c users.updated.v1 --forward http://localhost:3000/hook
  toot listen -c users.updated.v1 --exec 'jq .payload >> users.log'`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(l.channels) == 0 {
				return usagef("which channel? Name one, or several, with --channel (the full name)")
			}
			publisher, err := p.open()
			if err != nil {
				return err
			}
			return l.run(cmd.Context(), c, publisher)
		},
	}
	p.add(cmd.Flags())
	flags := cmd.Flags()
	flags.StringArrayVarP(&l.channels, "channel", "c", nil, "a channel, by its full name; repeatable")
	flags.StringVar(&l.listen, "listen", "127.0.0.1:0", "the address to listen on")
	flags.StringVar(&l.callbackURL, "callback-url", "", "the URL at which the publisher reaches that address, if it is a different one; a secret is added to its path")
	flags.StringVar(&l.forward, "forward", "", "POST each event to this URL")
	flags.StringVar(&l.command, "exec", "", "run this command in a shell for each event, with the event on its standard input")
	flags.IntVarP(&l.count, "count", "n", 0, "end after this many events; 0 means never")
	return cmd
}

type listener struct {
	channels                              []string
	listen, callbackURL, forward, command string
	count                                 int
}

// run listens until ctx ends or enough has arrived.
func (l *listener) run(ctx context.Context, c *command, publisher *peer.Publisher) error {
	ctx, enough := context.WithCancel(ctx)
	defer enough()
	actions, err := l.actions(c, enough)
	if err != nil {
		return err
	}
	callbackURL, secret, err := l.secretURL()
	if err != nil {
		return err
	}
	socket, err := new(net.ListenConfig).Listen(ctx, "tcp", l.listen)
	if err != nil {
		return fmt.Errorf("can't listen: %w: choose another address with --listen", err)
	}
	if l.callbackURL == "" {
		callbackURL = "http://" + socket.Addr().String() + callbackURL
	}
	endpoint := listen.NewEndpoint(listen.Options{
		Channels: l.channels, Secret: secret, Actions: actions, MaxEventBytes: 16 << 20, Logger: c.notes(),
	})
	server := &http.Server{Handler: endpoint, ReadHeaderTimeout: 10 * time.Second, ErrorLog: nil}
	served := make(chan error, 1)
	go func() { served <- server.Serve(socket) }()

	subscribed, lease, err := l.subscribe(ctx, publisher, callbackURL)
	if err == nil {
		c.note("listening to %s of %s, Ctrl-C ends it", ui.Clean(strings.Join(l.channels, ", ")), publisher)
		err = l.stay(ctx, served, lease, func() {
			if _, _, err := l.subscribe(ctx, publisher, callbackURL); err != nil && ctx.Err() == nil {
				c.notes().Warn("can't subscribe again before the registration ends; will try again", "error", err)
			}
		})
	}
	return errors.Join(err, l.leave(ctx, c, publisher, server, subscribed, callbackURL))
}

// minSecret is how long the end of a path has to be to be taken for a secret.
const minSecret = 20

// secretURL returns the callback URL to register, which ends in a secret:
// whoever reaches the port can't make up events. Without --callback-url it is a
// path. Where the user's URL ends in a secret of his own, that is it.
func (l *listener) secretURL() (callbackURL, secret string, err error) {
	secret = strings.ToLower(rand.Text())
	if l.callbackURL == "" {
		return "/" + secret, secret, nil
	}
	if err := wire.CheckCallbackURL(l.callbackURL); err != nil {
		return "", "", usagef("--callback-url: %w", err)
	}
	u, err := url.Parse(l.callbackURL)
	if err != nil {
		return "", "", usagef("--callback-url is not a URL")
	}
	if own := path.Base(u.Path); len(own) >= minSecret && !strings.HasSuffix(u.Path, "/") {
		return l.callbackURL, own, nil
	}
	return u.JoinPath(secret).String(), secret, nil
}

// subscribe subscribes to all channels, and returns those that it could, and the
// shortest time for which they are subscribed: 0 means for ever.
func (l *listener) subscribe(ctx context.Context, publisher *peer.Publisher, callbackURL string) (channels []string, lease time.Duration, err error) {
	for _, channel := range l.channels {
		_, lasts, err := publisher.Subscribe(ctx, channel, callbackURL)
		if err != nil {
			return channels, lease, err
		}
		channels = append(channels, channel)
		if lasts > 0 && (lease == 0 || lasts < lease) {
			lease = lasts
		}
	}
	return channels, lease, nil
}

// stay returns when ctx ends, or the server does. Meanwhile it calls renew
// whenever a third of a lease is over.
func (l *listener) stay(ctx context.Context, served <-chan error, lease time.Duration, renew func()) error {
	var due <-chan time.Time
	if lease > 0 {
		ticker := time.NewTicker(lease / 3)
		defer ticker.Stop()
		due = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-served:
			return err
		case <-due:
			renew()
		}
	}
}

// leave unsubscribes, and has what still waits for the callback URL discarded,
// which nobody will take there any more. Events that are on their way are still
// taken meanwhile.
func (l *listener) leave(ctx context.Context, c *command, publisher *peer.Publisher, server *http.Server, channels []string, callbackURL string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	var errs []error
	var left []string // the channels
	discards := true
	for _, channel := range channels {
		r, err := publisher.Unsubscribe(ctx, channel, callbackURL, peer.UnsubscribeOptions{Discard: true})
		if err != nil {
			errs = append(errs, fmt.Errorf("can't unsubscribe from %s: %w", channel, err))
			continue
		}
		left, discards = append(left, ui.Clean(channel)), discards && r.Discarded
	}
	if len(left) > 0 {
		c.note("unsubscribed from %s", strings.Join(left, ", "))
	}
	if !discards {
		c.note("This publisher can't discard events that still wait for the callback URL: it goes on trying to send them.")
	}
	if err := server.Shutdown(ctx); err != nil {
		errs = append(errs, server.Close())
	}
	return errors.Join(errs...)
}

// actions are what is done with each event.
func (l *listener) actions(c *command, enough func()) ([]listen.Action, error) {
	var actions []listen.Action
	if l.forward != "" {
		forward, err := listen.Forward(l.forward)
		if err != nil {
			return nil, usagef("--forward: %w", err)
		}
		actions = append(actions, forward)
	}
	if l.command != "" {
		// Not os.Stdout itself: what several commands say at once, and what
		// is printed here, shall not be mixed up in one line.
		out, errs := &lockedWriter{w: c.out.Writer}, &lockedWriter{w: c.err.Writer}
		actions = append(actions, listen.Exec(l.command, out, errs))
	}
	arrived := 0
	return append(actions, listen.Print(func(e *toot.Event) error {
		if l.command == "" {
			if err := c.showEvent(e); err != nil {
				return err
			}
		}
		if arrived++; arrived == l.count {
			enough()
		}
		return nil
	})), nil
}

// showEvent prints an event: to be read on a terminal, as a line otherwise.
func (c *command) showEvent(e *toot.Event) error {
	if !c.out.Terminal() {
		return c.out.JSON(e)
	}
	c.out.Say("%s  %s  %s", c.out.Paint(ui.Dim, time.Now().Format("15:04:05.000")), c.out.Paint(ui.Cyan, ui.Clean(e.Channel)), c.out.Paint(ui.Dim, ui.Clean(e.ID)))
	payload := prettyJSON(e.Payload)
	if line := ui.Clean(string(e.Payload)); len(line) <= c.out.Width()-2 {
		payload = line
	}
	c.out.Say("%s", ui.Indent(payload, "  "))
	return nil
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
