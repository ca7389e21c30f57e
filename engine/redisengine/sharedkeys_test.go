package redisengine_test

import (
	"slices"
	"testing"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/redisengine"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

// TestRubyAppsBehindRedisNamespace: what is shared with them is where they have
// it, and apart from what others have at the same names without a namespace.
func TestRubyAppsBehindRedisNamespace(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	const channel, realm = appPrefix + appChannel, appPrefix + "toot.auth.credentials_store"
	behind := open(t, s.URL(), &redisengine.Options{RedisNamespace: "my*app"})
	colon := open(t, s.URL(), &redisengine.Options{RedisNamespace: "my*app:", Namespace: "another"})
	plain := open(t, s.URL(), nil)
	s.Do("SADD", "my*app:"+channel, "http://ruby.example")
	s.Do("SADD", "myXapp:"+channel, "http://other.example")
	s.Do("HSET", "my*app:"+realm, "ruby", "proof")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	added, err := behind.AddSubscriber(t.Context(), channel, "http://go.example", 0)
	must(err)
	again, err := behind.AddSubscriber(t.Context(), channel, "http://ruby.example", 0)
	must(err)
	if !added || again {
		t.Errorf("added: %t, again: %t", added, again)
	}
	_, err = plain.AddSubscriber(t.Context(), channel, "http://plain.example", 0)
	must(err)
	must(behind.PutCredential(t.Context(), realm, "go", []byte("proof")))

	for _, e := range []*redisengine.Engine{behind, colon} {
		urls, err := e.Subscribers(t.Context(), channel)
		slices.Sort(urls)
		if err != nil || !slices.Equal(urls, []string{"http://go.example", "http://ruby.example"}) {
			t.Errorf("subscribers: %q, %v", urls, err)
		}
		res, err := e.Push(t.Context(), engine.PushRequest{Channels: []string{channel}, MaxSubscribers: 10})
		if err != nil || len(res.Audiences[0].CallbackURLs) != 2 {
			t.Errorf("a push tells of %+v, %v", res, err)
		}
		channels, err := e.Channels(t.Context(), appPrefix)
		if err != nil || len(channels) != 1 || len(channels[channel]) != 2 {
			t.Errorf("channels: %v, %v", channels, err)
		}
		names, err := e.Usernames(t.Context(), realm)
		if err != nil || !slices.Equal(names, []string{"go", "ruby"}) {
			t.Errorf("user names: %q, %v", names, err)
		}
	}
	removed, err := colon.RemoveSubscriber(t.Context(), channel, "http://ruby.example", 0)
	if err != nil || !removed {
		t.Errorf("removed: %t, %v", removed, err)
	}
	if members, err := s.Try("SMEMBERS", "my*app:"+channel).AsStrSlice(); err != nil || !slices.Equal(members, []string{"http://go.example"}) {
		t.Errorf("Ruby apps have %q, %v", members, err)
	}
	if urls, err := plain.Subscribers(t.Context(), channel); err != nil || !slices.Equal(urls, []string{"http://plain.example"}) {
		t.Errorf("without a namespace there are %q, %v", urls, err)
	}
	if names, err := plain.Usernames(t.Context(), realm); err != nil || len(names) != 0 {
		t.Errorf("without a namespace there are the users %q, %v", names, err)
	}
}
