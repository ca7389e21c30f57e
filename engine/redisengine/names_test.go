package redisengine_test

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/redisengine"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

// reservedNames are keys of toot's, Sidekiq's and toot-auth's.
var reservedNames = []string{
	"{toot:0}:refs", "{toot:0}:events", "{toot}:attributes:signing", "{", "toot", "toot:0",
	"queues", "queue:default", "schedule", "retry", "dead", "processes", "stat:processed", "cron_jobs", "limit_fetch:busy:default:x",
	"toot.auth.credentials_store", "org.example.publisher.toot.auth.credentials_store",
}

// A channel that is named like somebody's key has no subscribers, takes none
// and loses none, whatever is kept there.
func TestKeysOfOthersAreNoChannels(t *testing.T) {
	onServers(t, func(t *testing.T, url string, do func(...string)) {
		e := open(t, url, nil)
		do("SADD", "queues", "default")
		for _, name := range reservedNames {
			if _, err := e.AddSubscriber(t.Context(), name, "http://a", 0); !errors.Is(err, engine.ErrInvalid) {
				t.Errorf("AddSubscriber(%q): %v", name, err)
			}
			if _, err := e.RemoveSubscriber(t.Context(), name, "default", 0); !errors.Is(err, engine.ErrInvalid) {
				t.Errorf("RemoveSubscriber(%q): %v", name, err)
			}
			if _, err := e.Subscribers(t.Context(), name); !errors.Is(err, engine.ErrInvalid) {
				t.Errorf("Subscribers(%q): %v", name, err)
			}
		}
		if _, err := e.AddSubscriber(t.Context(), "org.example.queues", "http://a", 0); err != nil {
			t.Error(err)
		}
		// The error is that channel's alone.
		a := audiences(t, e, 10, "org.example.queues", "queues", "{toot:0}:refs")
		if a[0].Err != nil || !slices.Equal(a[0].CallbackURLs, []string{"http://a"}) || !errors.Is(a[1].Err, engine.ErrInvalid) || !errors.Is(a[2].Err, engine.ErrInvalid) {
			t.Errorf("audiences: %+v", a)
		}
		channels, err := e.Channels(t.Context(), "")
		if err != nil || len(channels) != 1 {
			t.Errorf("Channels: %q, %v", channels, err)
		}
		// A key of another type is no channel either.
		do("SET", "org.example.text", "text")
		if _, err := e.AddSubscriber(t.Context(), "org.example.text", "http://a", 0); !errors.Is(err, engine.ErrInvalid) || !strings.Contains(err.Error(), "something else than subscribers") {
			t.Errorf("AddSubscriber on a string: %v", err)
		}
	})
}

// An app whose channels have no prefix keeps their subscribers apart from
// everybody's keys.
func TestChannelsWithoutPrefixAreKeptApart(t *testing.T) {
	onServers(t, func(t *testing.T, url string, do func(...string)) {
		do("SADD", "users", "somebody's", "set")
		apart := open(t, url, nil)
		apart.KeepChannelsApart()
		for _, channel := range []string{"users", "queues", "a [b]*", "{"} {
			if _, err := apart.AddSubscriber(t.Context(), channel, "http://a", 0); err != nil {
				t.Fatal(channel, err)
			}
			if a := audiences(t, apart, 10, channel); a[0].Err != nil || !slices.Equal(a[0].CallbackURLs, []string{"http://a"}) {
				t.Errorf("%q: %+v", channel, a)
			}
		}
		another := open(t, url, nil)
		another.KeepChannelsApart()
		channels, err := another.Channels(t.Context(), "")
		if err != nil || len(channels) != 4 || !slices.Equal(channels["users"], []string{"http://a"}) {
			t.Errorf("Channels: %q, %v", channels, err)
		}
		if channels, err = another.Channels(t.Context(), "a [b]"); err != nil || len(channels) != 1 {
			t.Errorf("Channels with a prefix: %q, %v", channels, err)
		}
		if removed, err := another.RemoveSubscriber(t.Context(), "users", "http://a", 0); !removed || err != nil {
			t.Errorf("RemoveSubscriber: %v, %v", removed, err)
		}
		do("SADD", "users", "added", "again")
		raw := open(t, url, nil)
		if urls, err := raw.Subscribers(t.Context(), "users"); err != nil || len(urls) != 4 {
			t.Errorf("the set of another program was changed: %q, %v", urls, err)
		}
	})
}

// Subscribers that are shared with the Ruby original already stay where it
// looks for them.
func TestSharedSubscribersStayShared(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	s.Do("SADD", "users", "http://ruby.example.org/")
	var said strings.Builder
	e, err := redisengine.Open(t.Context(), s.URL(), &redisengine.Options{Logger: slog.New(slog.NewTextHandler(&said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	e.KeepChannelsApart()
	if _, err := e.AddSubscriber(t.Context(), "users", "http://go.example.org/", 0); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said.String(), `where="shared with all" because_of=users`) {
		t.Errorf("not said: %s", said.String())
	}
	if n := members(s, "users"); n != 2 {
		t.Errorf("%d members", n)
	}
	if _, err := e.AddSubscriber(t.Context(), "queues", "http://a", 0); !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("AddSubscriber: %v", err)
	}
	// What was settled stays.
	s.Do("DEL", "users")
	later := open(t, s.URL(), nil)
	later.KeepChannelsApart()
	if _, err := later.AddSubscriber(t.Context(), "users", "http://go.example.org/", 0); err != nil {
		t.Fatal(err)
	}
	if n := members(s, "users"); n != 1 {
		t.Errorf("%d members", n)
	}
}

func members(s *redistest.Server, key string) int64 {
	m := s.Do("SCARD", key)
	n, _ := m.AsInt64()
	return n
}
