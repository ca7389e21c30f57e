package redisengine_test

import (
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/enginetest"
	"github.com/watermarkchurch/toot-go/engine/redisengine"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("on_a_single_server", func(t *testing.T) {
		t.Parallel()
		enginetest.Run(t, harness(t, 8, nil, func(t testing.TB) (string, []*redistest.Server) {
			s := redistest.StartWithClock(t)
			return s.URL(), []*redistest.Server{s}
		}))
	})
	t.Run("on_a_server_with_several_shards", func(t *testing.T) {
		t.Parallel()
		enginetest.Run(t, harness(t, 6, &redisengine.Options{Shards: 3, RedisNamespace: rubyNamespace}, func(t testing.TB) (string, []*redistest.Server) {
			s := redistest.StartWithClock(t)
			return s.URL(), []*redistest.Server{s}
		}))
	})
	t.Run("on_a_pair_with_a_Sentinel", func(t *testing.T) {
		t.Parallel()
		enginetest.Run(t, harness(t, 4, nil, func(t testing.TB) (string, []*redistest.Server) {
			p := redistest.StartSteadyPairWithClocks(t)
			return p.URL(), []*redistest.Server{p.Master}
		}))
	})
	t.Run("on_a_cluster", func(t *testing.T) {
		t.Parallel()
		enginetest.Run(t, harness(t, 4, nil, func(t testing.TB) (string, []*redistest.Server) {
			c := redistest.StartClusterWithClocks(t)
			return c.URL(), c.Masters
		}))
	})
}

// rubyNamespace has what a pattern could take for something else.
const rubyNamespace = "my*:[app]"

// clients are connected to a set of servers. To connect takes longer than most
// subtests, so that one after another has the same clients; but each engine of a
// subtest has its own.
type clients struct {
	t   *testing.T
	url string

	mu  sync.Mutex
	all []rueidis.Client
}

// each returns a function that returns each client once.
func (c *clients) each() func() (rueidis.Client, error) {
	taken := 0
	return func() (rueidis.Client, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if taken == len(c.all) {
			client, err := redisengine.Connect(c.t.Context(), c.url)
			if err != nil {
				return nil, err
			}
			c.t.Cleanup(client.Close)
			// From a call whose context has no deadline on, a connection takes
			// commands before it has answered others, as it does for every app, which
			// watches. Before that, a context that ends takes the connection with it.
			for _, node := range client.Nodes() {
				if err := node.Do(c.t.Context(), node.B().Ping().Build()).Error(); err != nil {
					return nil, err
				}
			}
			c.all = append(c.all, client)
		}
		taken++
		return c.all[taken-1], nil
	}
}

// harness gives each subtest a store to itself. Since subscribers lie outside
// of namespaces, that is a set of servers to itself. Up to n are started, used
// one after another, and emptied in between.
func harness(t *testing.T, n int, opts *redisengine.Options, start func(testing.TB) (string, []*redistest.Server)) enginetest.Harness {
	type set struct {
		url     string
		masters []*redistest.Server
		clients *clients
	}
	free := make(chan set, n)
	var mu sync.Mutex
	started := 0
	var opened sync.Map // engines and their servers
	take := func() set {
		select {
		case s := <-free:
			return s
		default:
		}
		mu.Lock()
		if started < n {
			started++
			defer mu.Unlock()
			url, masters := start(t)
			return set{url, masters, &clients{t: t, url: url}}
		}
		mu.Unlock()
		return <-free
	}
	return enginetest.Harness{
		NewStore: func(sub testing.TB) enginetest.Opener {
			s := take()
			sub.Cleanup(func() {
				for _, m := range s.masters {
					m.Do("FLUSHALL")
				}
				free <- s
			})
			next := s.clients.each()
			return func(r engine.Retention) (engine.Engine, error) {
				o := redisengine.Options{Logger: quiet}
				if opts != nil {
					o.Shards, o.RedisNamespace = opts.Shards, opts.RedisNamespace
				}
				o.Retention = r
				client, err := next()
				if err != nil {
					return nil, err
				}
				e, err := redisengine.New(client, &o)
				if err == nil {
					opened.Store(e, s.masters)
				}
				return e, err
			}
		},
		BreakChannel: func(e engine.Engine, channel string) {
			masters, _ := opened.Load(e)
			if opts != nil && opts.RedisNamespace != "" {
				channel = opts.RedisNamespace + ":" + channel
			}
			for _, m := range masters.([]*redistest.Server) {
				if m.Try("SET", channel, "no set").Error() == nil { // a cluster has it on one of them
					return
				}
			}
			t.Error("no server has the channel")
		},
		// Nothing is remembered that could be out of date.
		Stall: func(engine.Engine) func() { return func() {} },
		Jump: func(e engine.Engine, d time.Duration) {
			masters, _ := opened.Load(e)
			for _, m := range masters.([]*redistest.Server) {
				m.Jump(d)
			}
		},
	}
}
