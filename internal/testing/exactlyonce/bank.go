package exactlyonce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/anyengine"
)

// role is what a process does for its bank.
type role string

const (
	publisher  role = "publisher"  // makes transfers
	relay      role = "relay"      // moves them from the outbox to the other bank, and credits others
	subscriber role = "subscriber" // takes in the other bank's, and credits them
)

const (
	// requestTimeout is that of the banks. Leases last twice as long.
	requestTimeout = 2 * time.Second
	leaseSpan      = 2 * requestTimeout
	// dedupe is how long the banks' engines know an event at least. By
	// forgotten they know it no more: twice that, and what it takes them to
	// get to it.
	dedupe    = 500 * time.Millisecond
	forgotten = 2*dedupe + 1500*time.Millisecond
	// transactTimeout bounds a transaction of transfers.
	transactTimeout = 5 * time.Second
)

// part is a process of a bank, as it is told.
type part struct {
	Bank          Bank
	Prefix, Other string // of the bank's channels, and of the other bank's
	Roles         []role
	Addr          string // on which a subscriber listens
	File          string // begins the names of the process's files
	Seed          uint64
	Pause         time.Duration // between two transactions, on average
}

// envPart is where a process finds its part.
const envPart = "TOOT_EXACTLYONCE"

// Main plays a part, if this process was started to do so, and ends it.
func Main() {
	text := os.Getenv(envPart)
	if text == "" {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	var p part
	err := json.Unmarshal([]byte(text), &p)
	if err == nil {
		err = p.play(ctx)
	}
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", p.File, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func (p part) is(r role) bool { return slices.Contains(p.Roles, r) }

func (p part) play(ctx context.Context) error {
	stopped, err := openTally(p.File)
	if err != nil {
		return err
	}
	store, err := p.openStore(ctx)
	if err != nil {
		if ctx.Err() != nil { // told to end before it had begun
			return nil
		}
		return err
	}
	defer func() { _ = store.Close() }()
	options := &toot.Options{
		ChannelPrefix:  p.Prefix,
		RequestTimeout: requestTimeout,
		MaxRetries:     10_000,
		RetryDelay:     func(int) time.Duration { return 50 * time.Millisecond },
		ProbeInterval:  300 * time.Millisecond,
		Observer:       pushes{p},
		Logger:         quiet,
	}
	app, err := toot.New(store, options)
	if err != nil {
		return err
	}
	books, err := openBooks(ctx, app, p.Bank)
	if err != nil {
		return err
	}
	err = app.AddSource("other", toot.Source{SubscriptionURL: "http://127.0.0.1:1/"})
	if err == nil {
		err = app.Subscribe("other", p.Other+channel, p.crediting(books, stopped))
	}
	if err != nil {
		return err
	}
	return errors.Join(p.work(ctx, app, books), app.Close(), books.close())
}

// openStore keeps trying while the store's server is being started again.
func (p part) openStore(ctx context.Context) (anyengine.Store, error) {
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		store, err := anyengine.Open(ctx, p.Bank.Store, &anyengine.Options{Retention: engine.Retention{Dedupe: dedupe}})
		if err == nil || ctx.Err() != nil || time.Now().After(end) {
			return store, err
		}
	}
}

// work does what the process's roles are until ctx ends.
func (p part) work(ctx context.Context, app *toot.App, b books) error {
	var all sync.WaitGroup
	defer all.Wait()
	if p.is(publisher) {
		for n := range 2 {
			all.Go(func() { p.transfer(ctx, b, rand.New(rand.NewPCG(p.Seed, uint64(n)))) }) //nolint:gosec // 0 or 1
		}
	}
	if p.is(relay) {
		all.Go(func() { _ = b.relay(ctx) })
	}
	switch {
	case p.is(subscriber):
		if err := awaitFree(ctx, p.Addr); err != nil {
			return err
		}
		mux := http.NewServeMux()
		mux.Handle("/callbacks", app.HandlerService())
		return app.Serve(ctx, &http.Server{Addr: p.Addr, Handler: mux, ReadHeaderTimeout: requestTimeout})
	case p.is(relay):
		return app.Run(ctx)
	}
	<-ctx.Done()
	return nil
}

// awaitFree waits until nobody listens on an address any more: the process that
// was killed may be on its way out.
func awaitFree(ctx context.Context, addr string) error {
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		l, err := net.Listen("tcp", addr)
		if err == nil {
			return l.Close()
		}
		if ctx.Err() != nil {
			return nil
		}
		if time.Now().After(end) {
			return err
		}
	}
}

var errOnPurpose = errors.New("on purpose")

// transfer makes transfers until ctx ends, one to three in a transaction, every
// fourth of which is rolled back. Whether others have committed where an answer
// was lost, only the books tell.
func (p part) transfer(ctx context.Context, b books, random *rand.Rand) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(random.Int64N(int64(2 * p.Pause)))):
		}
		transfers := make([]Transfer, 1+random.IntN(3))
		for i := range transfers {
			transfers[i] = Transfer{ID: random.Int64(), Payer: random.Int64N(accounts), Payee: random.Int64N(accounts), Cents: 1 + random.Int64N(10_000)}
		}
		rolledBack := random.IntN(4) == 0
		ctx, cancel := context.WithTimeout(ctx, transactTimeout)
		err := b.transact(ctx, func(exec execFunc, publish func(context.Context, Transfer) error) error {
			for _, t := range transfers {
				if err := debit(ctx, exec, t); err != nil {
					return err
				}
				if err := publish(ctx, t); err != nil {
					return err
				}
			}
			p.dieIfDoomed(beforeDebit)
			if rolledBack {
				return errOnPurpose
			}
			return nil
		})
		cancel()
		if err == nil {
			p.dieIfDoomed(afterDebit)
		}
	}
}

// crediting is the handler of the other bank's transfers. It fails now and then,
// and tallies the events for which the inbox did not let it run.
func (p part) crediting(b books, stopped *tally) toot.Handler {
	var ran sync.Map // IDs of the events for which it ran
	handler := b.handler(func(ctx context.Context, exec execFunc, e *toot.Event, t Transfer) error {
		ran.Store(e.ID, true)
		if err := credit(ctx, exec, t); err != nil {
			return err
		}
		p.dieIfDoomed(beforeCredit)
		if rand.IntN(20) == 0 {
			return errOnPurpose
		}
		return nil
	})
	return toot.HandlerFunc(func(ctx context.Context, e *toot.Event) error {
		err := handler.HandleEvent(ctx, e)
		_, did := ran.LoadAndDelete(e.ID)
		switch {
		case err != nil:
		case did:
			p.dieIfDoomed(afterCredit)
		default:
			stopped.add()
		}
		return err
	})
}
