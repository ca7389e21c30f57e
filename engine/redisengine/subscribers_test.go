package redisengine_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/redisengine"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

// onServers runs a test on a single server and on a cluster. do sends a command
// to whoever has the key.
func onServers(t *testing.T, test func(t *testing.T, url string, do func(...string))) {
	t.Parallel()
	t.Run("on_a_single_server", func(t *testing.T) {
		t.Parallel()
		s := redistest.Start(t)
		test(t, s.URL(), func(command ...string) { s.Do(command...) })
	})
	t.Run("on_a_cluster", func(t *testing.T) {
		t.Parallel()
		c := redistest.StartCluster(t)
		test(t, c.URL(), func(command ...string) {
			for _, s := range c.Masters {
				err := s.Try(command...).Error()
				if err == nil {
					return
				}
				if !strings.HasPrefix(err.Error(), "MOVED") {
					t.Fatal(err)
				}
			}
		})
	})
}

// audiences pushes a job and asks for channels, as a publisher does.
func audiences(t *testing.T, e *redisengine.Engine, most int, channels ...string) []engine.Audience {
	t.Helper()
	res, err := e.Push(t.Context(), engine.PushRequest{
		Jobs: []engine.Job{{Event: newEvent(), Lane: deliver("l")}}, Channels: channels, MaxSubscribers: most,
	})
	if err != nil || len(res.Audiences) != len(channels) {
		t.Fatal(res, err)
	}
	for i := range res.Audiences {
		slices.Sort(res.Audiences[i].CallbackURLs)
	}
	return res.Audiences
}

// A publisher hears of subscribers that anybody has added before, by whatever
// means, with the very next push.
func TestPushTellsOfOthersSubscribers(t *testing.T) {
	onServers(t, func(t *testing.T, url string, do func(...string)) {
		e, other := open(t, url, nil), open(t, url, &redisengine.Options{Namespace: "other"})
		for i := range 100 {
			channel := "channel-" + strconv.Itoa(i)
			want := "http://ruby"
			do("SADD", channel, want)
			if i%2 == 0 {
				want = "http://go"
				do("SREM", channel, "http://ruby")
				if _, err := other.AddSubscriber(t.Context(), channel, want, 0); err != nil {
					t.Fatal(err)
				}
			}
			a := audiences(t, e, 10, "nobody", channel)
			if len(a[0].CallbackURLs) != 0 || a[0].Err != nil || len(a[1].CallbackURLs) != 1 || a[1].CallbackURLs[0] != want {
				t.Fatalf("the push told of %v", a)
			}
		}
	})
}

// A key that is no SET, and one with more subscribers than are asked for, are
// nobody else's problem.
func TestAudiencesAreIndependent(t *testing.T) {
	onServers(t, func(t *testing.T, url string, do func(...string)) {
		e := open(t, url, nil)
		do("SET", "string", "1")
		for i := range 11 {
			do("SADD", "many", fmt.Sprintf("http://%d", i))
		}
		do("SADD", "few", "http://a", "http://b")
		a := audiences(t, e, 10, "few", "string", "many", "few")
		if a[1].Err == nil || !strings.Contains(a[1].Err.Error(), "WRONGTYPE") {
			t.Errorf("a key of another type: %v", a[1])
		}
		if !a[2].More || a[2].CallbackURLs != nil || a[2].Err != nil {
			t.Errorf("too many subscribers: %v", a[2])
		}
		for _, i := range []int{0, 3} {
			if got := a[i].CallbackURLs; len(got) != 2 || got[0] != "http://a" || a[i].More || a[i].Err != nil {
				t.Errorf("a channel beside those: %v", a[i])
			}
		}
		if a := audiences(t, e, 11, "many"); len(a[0].CallbackURLs) != 11 || a[0].More {
			t.Errorf("as many as were asked for: %v", a)
		}
		// More than one script is asked about.
		var channels []string
		for i := range 120 {
			channels = append(channels, fmt.Sprintf("c%d", i))
			do("SADD", channels[i], fmt.Sprintf("http://c%d", i))
		}
		for i, a := range audiences(t, e, 1, channels...) {
			if len(a.CallbackURLs) != 1 || a.CallbackURLs[0] != fmt.Sprintf("http://c%d", i) {
				t.Fatalf("the audience of %s is %v", channels[i], a)
			}
		}
	})
}

// Apps that use the Ruby gem add and remove members and know of no end.
func TestRegistrationsBesideRuby(t *testing.T) {
	onServers(t, func(t *testing.T, url string, do func(...string)) {
		e := open(t, url, nil)
		add := func(channel string, lease time.Duration) {
			t.Helper()
			if _, err := e.AddSubscriber(t.Context(), channel, "http://a", lease); err != nil {
				t.Fatal(err)
			}
		}
		count := func(channel string, want int, what string) {
			t.Helper()
			urls, err := e.Subscribers(t.Context(), channel)
			if err != nil || len(urls) != want {
				t.Errorf("%s: subscribers are %v, %v", what, urls, err)
			}
			if a := audiences(t, e, 10, channel); len(a[0].CallbackURLs) != want {
				t.Errorf("%s: the audience is %v", what, a)
			}
		}
		const lease = time.Second
		add("endless", lease)
		add("endless", 0)
		add("removed", lease)
		do("SREM", "removed", "http://a")
		count("removed", 0, "removed by another")
		do("SADD", "removed", "http://a")
		do("SADD", "ruby", "http://a")
		add("lasts", time.Hour)
		count("lasts", 1, "before the end")
		add("ends", lease)
		time.Sleep(lease + 50*time.Millisecond)
		count("ends", 0, "after the end")
		count("endless", 1, "registered again, without an end")
		count("removed", 1, "removed by another and added again")
		count("ruby", 1, "added by another")
		if removed, err := e.RemoveSubscriber(t.Context(), "ruby", "http://a", time.Hour); !removed || err != nil {
			t.Errorf("a registration of another's counts as old: %v, %v", removed, err)
		}
		if channels, err := e.Channels(t.Context(), ""); err != nil || len(channels) != 3 {
			t.Errorf("the channels are %v, %v", channels, err)
		}
		add("ends", time.Hour)
		do("SREM", "ends", "http://a")
		if removed, err := e.RemoveSubscriber(t.Context(), "ends", "http://a", 0); removed || err != nil {
			t.Errorf("what another has removed is not there: %v, %v", removed, err)
		}
	})
}

// On a single server one command stores the jobs and tells who gets the events.
func TestPublishingIsOneCommand(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	e := open(t, s.URL(), nil)
	s.Do("SADD", "c", "http://a", "http://b")
	audiences(t, e, 10, "c")
	s.Do("CONFIG", "RESETSTAT")
	for range 100 {
		audiences(t, e, 10, "c", "d")
	}
	got := calls(t, s)
	if got["evalsha"] != 100 || got["smembers"] != 100 {
		t.Errorf("100 pushes sent %v", got)
	}
}

// Thousands of subscribers that end at once hold nobody up.
func TestManyRegistrationsEnd(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	e := open(t, s.URL(), nil)
	const n = 5000
	var adding sync.WaitGroup
	const callers = 50
	for caller := range callers {
		adding.Go(func() {
			for i := caller; i < n; i += callers {
				if _, err := e.AddSubscriber(t.Context(), "c", fmt.Sprintf("http://%d", i), time.Millisecond); err != nil {
					t.Error(err)
				}
			}
		})
	}
	adding.Wait()
	s.Do("SADD", "c", "http://ruby")
	if a := audiences(t, e, 10, "c"); len(a[0].CallbackURLs) != 1 {
		t.Errorf("the audience is %v", a)
	}
	keys, err := s.Try("KEYS", "*c*:c").AsStrSlice()
	if err != nil || len(keys) != 0 {
		t.Errorf("%v is left behind, %v", keys, err)
	}
}

// Whatever others have put into the SET comes back as it is.
func TestAudienceOfAnyBytes(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	e := open(t, s.URL(), nil)
	for _, n := range []int{1, 15, 16, 70_000} {
		key := "n" + strconv.Itoa(n)
		s.Do("EVAL", "for i = 1, ARGV[1] do redis.call('SADD', KEYS[1], 'http://' .. i) end", "1", key, strconv.Itoa(n))
		urls, err := e.Subscribers(t.Context(), key)
		if slices.Sort(urls); err != nil || len(slices.Compact(urls)) != n {
			t.Errorf("of %d subscribers there are %d, %v", n, len(urls), err)
		}
	}
	want := []string{"", "\x00\xff\n"}
	for _, size := range []int{31, 32, 255, 256, 65535, 65536} {
		want = append(want, strings.Repeat("ü"[:1], size))
	}
	s.Do(append([]string{"SADD", "sizes"}, want...)...)
	got, err := e.Subscribers(t.Context(), "sizes")
	slices.Sort(got)
	slices.Sort(want)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%d of %d members came back, %v", len(got), len(want), err)
	}
}
