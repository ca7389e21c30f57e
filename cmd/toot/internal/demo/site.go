package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/anyengine"
)

// site is where the demo plays.
type site struct {
	dir    string
	temp   bool
	ledger *ledger
	state  state
	// resumed says that an earlier run has been here.
	resumed bool

	publisherStore, subscriberStore string // their names
	publisher, subscriber           anyengine.Store
	subscriptions, callbacks        net.Listener
}

// state is what the next run in the same folder has to know: what waits there
// waits for this address, and on a server under this name.
type state struct {
	Callback  string `json:"callback"`
	Namespace string `json:"namespace"`
	Store     string `json:"store"`
}

func openSite(ctx context.Context, o Options) (*site, error) {
	if r, err := anyengine.SplitRedis(o.Store); err == nil && r.Namespace != "" {
		return nil, fmt.Errorf("%w: leave ?namespace out, the demo has namespaces of its own", anyengine.ErrName)
	}
	s := &site{dir: o.Dir, ledger: newLedger()}
	err := s.open(ctx, o)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *site) open(ctx context.Context, o Options) (err error) {
	if s.dir == "" {
		s.temp = true
		if s.dir, err = os.MkdirTemp("", "toot-demo-"); err != nil {
			return err
		}
	} else {
		if err := os.MkdirAll(s.dir, 0o700); err != nil {
			return err
		}
		j, published, handled, err := openJournal(s.dir)
		if err != nil {
			return err
		}
		s.ledger.journal = j
		s.ledger.carry(published, handled)
	}
	if err := s.load(); err != nil {
		return err
	}
	kind := o.Store
	if kind != "sqlite" {
		kind = anyengine.Redact(kind)
	}
	if s.state.Store != "" && s.state.Store != kind {
		return fmt.Errorf("the demo in %s was begun on %s: go on with that store, or choose another folder", s.dir, s.state.Store)
	}
	s.resumed = s.state.Store != ""
	s.state.Store = kind
	if s.state.Namespace == "" {
		s.state.Namespace = "toot-demo-" + strconv.FormatUint(s.ledger.run, 36)
	}
	if s.subscriptions, err = new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	if s.callbacks, err = s.listen(ctx); err != nil {
		return err
	}
	if err := s.save(); err != nil {
		return err
	}
	s.publisherStore, s.subscriberStore = o.Store, o.Store
	if o.Store == "sqlite" {
		s.publisherStore = "sqlite:" + filepath.Join(s.dir, "publisher.db")
		s.subscriberStore = "sqlite:" + filepath.Join(s.dir, "subscriber.db")
	}
	if s.publisher, err = anyengine.Open(ctx, s.publisherStore, &anyengine.Options{Namespace: s.state.Namespace + "-publisher", Logger: o.Logger}); err != nil {
		return err
	}
	s.subscriber, err = anyengine.Open(ctx, s.subscriberStore, &anyengine.Options{Namespace: s.state.Namespace + "-subscriber", Logger: o.Logger})
	return err
}

// listen opens the subscriber's port: the same as in earlier runs, if it is
// free. If not, the publisher's client is told of the new one.
func (s *site) listen(ctx context.Context) (net.Listener, error) {
	var config net.ListenConfig
	if s.state.Callback != "" {
		if l, err := config.Listen(ctx, "tcp", s.state.Callback); err == nil {
			return l, nil
		}
	}
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err == nil && s.state.Callback == "" {
		s.state.Callback = l.Addr().String()
	}
	return l, err
}

// dial finds the subscriber where it listens now.
func (s *site) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if addr == s.state.Callback {
		addr = s.callbacks.Addr().String()
	}
	var dialer net.Dialer
	return dialer.DialContext(ctx, network, addr)
}

func (s *site) stateFile() string { return filepath.Join(s.dir, "demo.json") }

func (s *site) load() error {
	b, err := os.ReadFile(s.stateFile())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	if err := json.Unmarshal(b, &s.state); err != nil {
		return fmt.Errorf("%s is damaged: choose another folder: %w", s.stateFile(), err)
	}
	return nil
}

func (s *site) save() error {
	b, err := json.Marshal(s.state)
	if err != nil {
		return err
	}
	return os.WriteFile(s.stateFile(), b, 0o600)
}

// left is what waits in the stores.
type left struct{ publisher, subscriber, dead int }

func (l left) waiting() int { return l.publisher + l.subscriber }

func (s *site) left(ctx context.Context) (left, error) {
	var l left
	count := func(e engine.Inspector, waiting *int) error {
		lanes, err := e.Lanes(ctx)
		for _, lane := range lanes {
			*waiting += lane.Waiting + lane.Leased
			l.dead += lane.Dead
		}
		return err
	}
	err := errors.Join(count(s.publisher, &l.publisher), count(s.subscriber, &l.subscriber))
	return l, err
}

func (s *site) close() error {
	var errs []error
	for _, l := range []net.Listener{s.subscriptions, s.callbacks} {
		if l != nil {
			_ = l.Close() // most likely its server has done so
		}
	}
	for _, e := range []anyengine.Store{s.publisher, s.subscriber} {
		if e != nil {
			errs = append(errs, e.Close())
		}
	}
	errs = append(errs, s.ledger.journal.close())
	if s.temp && s.publisher != nil && s.state.Store != "sqlite" {
		// Not on the user's own server: nobody would find it there again.
		errs = append(errs, forget(s.publisherStore, s.state.Namespace))
	}
	if s.temp && s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}
