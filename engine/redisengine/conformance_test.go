package redisengine_test

import (
	"sync"
	"testing"
	"time"

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

// harness gives each subtest a store to itself. Since subscribers lie outside
// of namespaces, that is a set of servers to itself. Up to n are started, used
// one after another, and emptied in between.
func harness(t *testing.T, n int, opts *redisengine.Options, start func(testing.TB) (string, []*redistest.Server)) enginetest.Harness {
	type set struct {
		url     string
		masters []*redistest.Server
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
			return set{url, masters}
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
			return func(r engine.Retention) (engine.Engine, error) {
				o := redisengine.Options{Logger: quiet}
				if opts != nil {
					o.Shards, o.RedisNamespace = opts.Shards, opts.RedisNamespace
				}
				o.Retention = r
				e, err := redisengine.Open(sub.Context(), s.url, &o)
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
