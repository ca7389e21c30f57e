package redisengine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/internal/outage"
)

// Options are optional settings. The zero value means the defaults. All
// processes that share a namespace are given the same.
type Options struct {
	// Namespace is the beginning of the names of all keys except those of
	// subscribers and credentials, which are shared. Engines of different
	// namespaces never touch each other's jobs. It must not contain braces.
	// Default "toot".
	Namespace string

	// RedisNamespace is what the gem redis-namespace puts before every key of
	// the Ruby apps with which subscribers and credentials are shared, without
	// the colon that stands between: with "myapp", the subscribers of a channel
	// are at "myapp:" and its name. Jobs and everything else are in Namespace.
	// Default: none, subscribers are at the channel's name.
	RedisNamespace string

	// Shards is the number of queues into which the jobs are split, each on one
	// node of a cluster. It is fixed when a namespace is first used; a number
	// given later has no effect. Default: 1, and on a cluster the number of its
	// masters, at most 8.
	Shards int

	// Retention is how long the store remembers finished and dead jobs.
	// Zero fields leave what the store has; the others are written into it with
	// the first Claim, see engine.Retention.
	Retention engine.Retention

	// Logger is told of outages and of server settings under which
	// acknowledged events can be lost. Default slog.Default().
	Logger *slog.Logger
}

// Engine keeps jobs and subscribers in Redis. It is safe for concurrent use.
type Engine struct {
	client     rueidis.Client
	ownsClient bool
	namespace  string
	shared     string // what keys start with that are shared with Ruby apps
	shards     []*shard
	queues     []*shard         // the shards, and behind them the queues of format 1
	wanted     engine.Retention // see retain
	retained   atomic.Bool      // what is wanted has been written
	log        *slog.Logger

	calls    gate
	outage   outage.Outage
	watch    watcher
	channels channelTable
	names    names
	lanes    laneNames
}

var (
	_ engine.Engine      = (*Engine)(nil)
	_ engine.DeadLetters = (*Engine)(nil)
	_ engine.Inspector   = (*Engine)(nil)
	_ engine.Credentials = (*Engine)(nil)
	_ engine.Attributes  = (*Engine)(nil)
	_ engine.Memory      = (*Engine)(nil)
	_ engine.Retainer    = (*Engine)(nil)

	_ engine.ChannelNames = (*Engine)(nil)
)

// maxShards is the default limit of shards on a cluster: every Claim asks all.
const maxShards = 8

// Open connects to the server or servers of a URL and returns the engine on
// them. Close closes the connections.
//
//	redis://user:password@host:6379/0
//	rediss://host:6379                         TLS
//	redis://host1:6379,host2:6379              nodes of a cluster
//	redis+cluster://host1:6379                 one node of a cluster
//	redis+sentinel://user:password@host1:26379,host2:26379/master/0
//
// The Sentinel form names the set of servers to find, "master" above, and then
// the database, which may be left out. User and password are those of the
// servers; the Sentinels' own are given as ?sentinel_user=…&sentinel_password=….
// rediss+cluster and rediss+sentinel mean TLS. A password alone is given as
// redis://:password@host, or in a file, which keeps it out of arguments and
// environments: redis://host?password_file=/run/secrets/redis-password.
// ?skip_verify=1 accepts any TLS certificate.
func Open(ctx context.Context, url string, opts *Options) (*Engine, error) {
	client, err := Connect(ctx, url)
	if err != nil {
		return nil, err
	}
	e, err := newEngine(ctx, client, opts)
	if err != nil {
		client.Close()
		return nil, err
	}
	e.ownsClient = true
	return e, nil
}

// Connect returns a client for the server or servers of a URL, as Open makes
// itself one. It is for those who want to use the connections for other things,
// too, and give the client to New.
func Connect(ctx context.Context, url string) (rueidis.Client, error) {
	o, err := clientOption(url)
	if err != nil {
		return nil, fmt.Errorf("redisengine: %w", err)
	}
	client, err := connect(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("redisengine: can't connect to %s: %w", strings.Join(o.InitAddress, ", "), explain(err, o.TLSConfig != nil))
	}
	return client, nil
}

// dial gives a server that is just starting some time.
func dial(ctx context.Context, o rueidis.ClientOption) (rueidis.Client, error) {
	for end := time.Now().Add(patience); ; {
		client, err := rueidis.NewClient(o)
		switch {
		case err == nil:
			return client, nil
		case !passing(err) || otherProtocol(err) || time.Now().After(end):
			return nil, err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// connect is dial that ends with the context, whatever it is at.
func connect(ctx context.Context, o rueidis.ClientOption) (rueidis.Client, error) {
	type result struct {
		client rueidis.Client
		err    error
	}
	done := make(chan result, 1)
	go func() {
		client, err := dial(ctx, o)
		done <- result{client, err}
	}()
	select {
	case r := <-done:
		return r.client, r.err
	case <-ctx.Done():
		go func() {
			if r := <-done; r.err == nil {
				r.client.Close()
			}
		}()
		return nil, context.Cause(ctx)
	}
}

// New returns an engine on a client of the caller's, such as one from Connect.
// The caller closes it some time after Close. The client has to speak RESP3.
func New(client rueidis.Client, opts *Options) (*Engine, error) {
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	return newEngine(ctx, client, opts)
}

const openTimeout = 10 * time.Second

func newEngine(ctx context.Context, client rueidis.Client, opts *Options) (*Engine, error) {
	if opts == nil {
		opts = &Options{}
	}
	e := &Engine{
		client:    client,
		namespace: opts.Namespace,
		wanted:    opts.Retention,
		log:       opts.Logger,
	}
	if e.namespace == "" {
		e.namespace = "toot"
	}
	if strings.ContainsAny(e.namespace, "{}") {
		return nil, fmt.Errorf("redisengine: %w: the namespace %q contains a brace", engine.ErrInvalid, e.namespace)
	}
	if opts.Shards < 0 {
		return nil, fmt.Errorf("redisengine: %w: %d shards", engine.ErrInvalid, opts.Shards)
	}
	if e.log == nil {
		e.log = slog.Default()
	}
	e.channels.namespace = e.namespace
	if opts.RedisNamespace != "" {
		e.shared = strings.TrimSuffix(opts.RedisNamespace, ":") + ":"
		e.channels.shared = e.shared
	}
	e.startWatch()
	found, err := e.settleFormat(ctx, opts.Shards)
	if err != nil {
		return nil, fmt.Errorf("redisengine: can't use the server: %w", err)
	}
	e.makeQueues(found)
	for _, s := range e.queues {
		if err := e.startClock(ctx, s); err != nil {
			return nil, err
		}
	}
	e.checkServer(ctx)
	return e, nil
}

func (e *Engine) makeQueues(f format) {
	for i := range f.shards {
		e.shards = append(e.shards, newShard(e.namespace, i, f.shards))
	}
	e.queues = e.shards
	if f.upgraded.IsZero() {
		return
	}
	for i, s := range e.shards {
		s.twin = newFormer(e.namespace, i, f.shards)
		e.queues = append(e.queues, s.twin)
	}
}

// Ping asks every shard's server for something small, as engine.Engine says.
func (e *Engine) Ping(ctx context.Context) error {
	if err := e.calls.enter(); err != nil {
		return err
	}
	defer e.calls.calls.Done()
	return onShards(e.shards, func(s *shard) error {
		// The client would ask a server that does not answer again and again
		// if it knew that this only reads.
		err := e.client.Do(ctx, e.client.B().Arbitrary("HGET").Keys(s.meta).Args("clock").Build()).Error()
		switch {
		case err == nil || rueidis.IsRedisNil(err):
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("redisengine: %w", context.Cause(ctx))
		}
		return describe(err)
	})
}

// Close ends the watching, waits for calls under way and closes the connections
// that Open has made.
func (e *Engine) Close() error {
	if !e.calls.close() {
		return nil
	}
	e.stopWatch()
	if e.ownsClient {
		e.client.Close()
	}
	return nil
}

// gate counts calls under way and lets none begin once it is closed.
type gate struct {
	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup
}

func (g *gate) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return engine.ErrClosed
	}
	g.calls.Add(1)
	return nil
}

// close reports whether it was the first to close the gate, and returns when
// nobody is inside any more.
func (g *gate) close() bool {
	g.mu.Lock()
	first := !g.closed
	g.closed = true
	g.mu.Unlock()
	g.calls.Wait()
	return first
}

// micros is a duration for scripts. They count in microseconds of at most a
// hundred years, so that sums stay exact.
func micros(d time.Duration) string {
	return strconv.FormatInt(bounded(d).Microseconds(), 10)
}

func bounded(d time.Duration) time.Duration {
	const limit = 100 * 365 * 24 * time.Hour
	return max(0, min(d, limit))
}

// span is micros for leases, which are longer than nothing.
func span(d time.Duration) string {
	if d > 0 && d < time.Microsecond {
		d = time.Microsecond
	}
	return micros(d)
}

var errForeign = errors.New("the server sent an answer that is not of this engine's scripts")
