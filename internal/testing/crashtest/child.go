package crashtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine/anyengine"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine"
)

const (
	envRole   = "TOOT_CRASHTEST_ROLE"
	envStore  = "TOOT_CRASHTEST_STORE"
	envPort   = "TOOT_CRASHTEST_PORT"
	envLedger = "TOOT_CRASHTEST_LEDGER"
	envClock  = "TOOT_CRASHTEST_CLOCK"

	channel = "things.happened"
)

// Main plays a role, if this process was started to do so, and ends it.
func Main() {
	role := os.Getenv(envRole)
	if role == "" {
		return
	}
	if err := play(role); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", role, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func play(role string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	book, err := openLedger(os.Getenv(envLedger))
	if err != nil {
		return err
	}
	eng, err := openStore(ctx)
	if err != nil {
		return unlessStopped(ctx, err)
	}
	defer func() { _ = eng.Close() }()
	url := "http://" + net.JoinHostPort("127.0.0.1", os.Getenv(envPort)) + "/callbacks"
	app, err := toot.New(eng, &toot.Options{
		CallbackURL:    url,
		RequestTimeout: leaseSpan / 2, // leases are to outlast what a busy machine stalls
		MaxRetries:     10_000,
		RetryDelay:     func(int) time.Duration { return 50 * time.Millisecond },
		ProbeInterval:  300 * time.Millisecond,
		Logger:         slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError + 1})),
	})
	if err != nil {
		return err
	}
	var others sync.WaitGroup
	switch role {
	case publisher:
		if err := register(ctx, eng, url); err != nil {
			return unlessStopped(ctx, err)
		}
		for range 3 {
			others.Go(func() { publish(ctx, app, book) })
		}
	case subscriber, handler:
		if err := subscribe(app, book); err != nil {
			return err
		}
		if role == subscriber {
			server, err := serve(app, book)
			if err != nil {
				return err
			}
			defer func() { _ = server.Shutdown(context.WithoutCancel(ctx)) }()
		}
	}
	err = app.Run(ctx)
	others.Wait()
	return errors.Join(err, app.Close())
}

// unlessStopped forgives what failed because this process was told to stop
// before it had begun.
func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// openStore keeps trying while the store's server is being started again.
func openStore(ctx context.Context) (anyengine.Store, error) {
	for end := time.Now().Add(patience / 2); ; time.Sleep(50 * time.Millisecond) {
		eng, err := openOnce(ctx, os.Getenv(envStore))
		if err == nil || ctx.Err() != nil || time.Now().After(end) {
			return eng, err
		}
	}
}

// openOnce opens a store, with the clock of the run where that is the process's.
func openOnce(ctx context.Context, name string) (anyengine.Store, error) {
	path, isFile := strings.CutPrefix(name, "sqlite:")
	if clock := os.Getenv(envClock); isFile && clock != "" {
		time, err := wallTime(clock)
		if err != nil {
			return nil, err
		}
		return sqliteengine.Open(path, &sqliteengine.Options{Time: time})
	}
	return anyengine.Open(ctx, name, nil)
}

// register makes the subscriber one, in spite of a network that fails.
func register(ctx context.Context, eng anyengine.Store, url string) error {
	for end := time.Now().Add(patience / 2); ; time.Sleep(50 * time.Millisecond) {
		if _, err := eng.AddSubscriber(ctx, channel, url, 0); err == nil || ctx.Err() != nil || time.Now().After(end) {
			return err
		}
	}
}

// publish publishes until it is stopped, and writes down what was
// acknowledged.
func publish(ctx context.Context, app *toot.App, book *ledger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(rand.IntN(20)) * time.Millisecond):
		}
		messages := make([]toot.Message, 1)
		if rand.IntN(5) == 0 {
			messages = make([]toot.Message, 10)
		}
		for i := range messages {
			messages[i] = toot.Message{Channel: channel, Payload: rand.Int()}
		}
		events, err := app.PublishAll(ctx, messages...)
		if err != nil {
			continue // not acknowledged
		}
		for _, e := range events {
			book.write(acknowledged, e.ID)
		}
		book.sync()
	}
}

// subscribe declares two handlers. Both write down when they begin and end,
// and fail now and then.
func subscribe(app *toot.App, book *ledger) error {
	if err := app.AddSource("publisher", toot.Source{SubscriptionURL: "http://127.0.0.1:1/"}); err != nil {
		return err
	}
	for _, name := range []string{"first", "second"} {
		err := app.AddSubscription(toot.Subscription{Source: "publisher", Channel: channel, Name: name,
			Handler: toot.HandlerFunc(func(ctx context.Context, e *toot.Event) error {
				book.write(begun, name+" "+e.ID)
				select {
				case <-time.After(time.Duration(rand.IntN(3000)) * time.Microsecond):
				case <-ctx.Done():
				}
				if ctx.Err() != nil || rand.IntN(50) == 0 {
					book.write(failed, name+" "+e.ID)
					return errors.New("on purpose")
				}
				book.write(handled, name+" "+e.ID)
				return nil
			})})
		if err != nil {
			return err
		}
	}
	return nil
}

// serve serves the callback URL and writes down what comes in and what was
// answered with success.
func serve(app *toot.App, book *ledger) (*http.Server, error) {
	var l net.Listener
	var err error
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", os.Getenv(envPort)))
		if err == nil {
			break
		}
		if time.Now().After(end) {
			return nil, err
		}
	}
	service := app.HandlerService()
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		ids := eventIDs(body)
		for _, id := range ids {
			book.write(received, id)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer := &statusWriter{ResponseWriter: w}
		service.ServeHTTP(answer, r)
		if answer.status == http.StatusOK {
			for _, id := range ids {
				book.write(accepted, id)
			}
		}
	})}
	go func() { _ = server.Serve(l) }()
	return server, nil
}

// eventIDs are the IDs of the events in a request: one, or a batch.
func eventIDs(body []byte) []string {
	type event struct{ ID string }
	var several []event
	if json.Unmarshal(body, &several) != nil {
		var one event
		_ = json.Unmarshal(body, &one)
		several = []event{one}
	}
	ids := make([]string, len(several))
	for i, e := range several {
		ids[i] = e.ID
	}
	return ids
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}
