package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/redisengine"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

// TestSubscribersThatAreNoURLs: the Ruby gem takes any text for a callback URL.
// Nobody else on the channel is held up by it, whether events are published or
// were taken over from Sidekiq, and it can be removed.
func TestSubscribersThatAreNoURLs(t *testing.T) {
	t.Parallel()
	redis, endpoint := redistest.Start(t), newEndpoint(t)
	const odd, fine = rubyPrefix + "odd", rubyPrefix + "fine"
	for _, url := range []string{"", "nonsense", " ", endpoint.URL} {
		redis.Do("SADD", odd, url)
	}
	redis.Do("SADD", fine, endpoint.URL)
	s := serve(t, "--store", redis.URL(), "--channel-prefix", rubyPrefix)

	// Jobs that fan out on the channel, as an import leaves them.
	e, err := redisengine.Open(t.Context(), redis.URL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	const n = 20
	var jobs []engine.Job
	for i := range n {
		for _, channel := range []string{odd, fine} {
			id := fmt.Sprintf("%s %d", channel, i)
			event := &engine.Event{ID: id, Channel: channel, Body: fmt.Appendf(nil, `{"id":%q,"channel":%q}`, id, channel)}
			jobs = append(jobs, engine.Job{Event: event, Lane: engine.Lane{Kind: engine.FanOut, Name: channel}})
		}
	}
	if _, err := e.Push(t.Context(), engine.PushRequest{Jobs: jobs}); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		for _, channel := range []string{"odd", "fine"} {
			res, err := http.Post(s.url+"/publish/"+channel, "application/json", strings.NewReader(fmt.Sprint(i)))
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if res.StatusCode != http.StatusAccepted {
				t.Errorf("publishing on %q was answered with %d", channel, res.StatusCode)
			}
		}
	}
	eventually(t, "all events arrive", func() bool { return endpoint.count() == 4*n })
	eventually(t, "nothing is left to be done", func() bool {
		lanes, err := e.Lanes(context.Background())
		return err == nil && len(lanes) == 0
	})
	warning := "level=WARN msg=\"toot: a channel has subscribers whose callback URL is not a URL"
	if said := strings.Count(s.stderr.String(), warning); said != 1 {
		t.Errorf("it was said %d times, want once:\n%s", said, s.stderr.String())
	}
	wantContains(t, s.stderr.String(), "channel="+odd+" subscribers=3")

	// They are listed, and go.
	res := command(t, "subscriptions", "--publisher", s.url, "--json")
	wantCode(t, res, 0)
	wantContains(t, res.stdout, `"callback_url":""`, `"callback_url":"nonsense"`)
	res = command(t, "subscriptions", "--publisher", s.url)
	wantContains(t, res.stdout, "''")
	for _, args := range [][]string{{"--callback-url", ""}, {"--callback-url=nonsense"}, {" "}} {
		res := command(t, append([]string{"unsubscribe", "--channel", odd, "--publisher", s.url}, args...)...)
		wantCode(t, res, 0)
		wantContains(t, res.stdout, "unsubscribed")
	}
	members, err := redis.Try("SMEMBERS", odd).AsStrSlice()
	if err != nil || len(members) != 1 || members[0] != endpoint.URL {
		t.Errorf("%q are left, %v", members, err)
	}

	// As the original answers where there is no such member.
	for query, want := range map[string]int{"channel=" + odd: 400, "channel=" + odd + "&callback_url=": 400, "callback_url=": 400, "channel=%20&callback_url=x": 400, "channel=" + odd + "&callback_url=x": 404} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, s.url+"/subscriptions?"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var problem struct{ Status int }
		_ = json.NewDecoder(res.Body).Decode(&problem)
		_ = res.Body.Close()
		if res.StatusCode != want || problem.Status != want {
			t.Errorf("DELETE ?%s was answered with %d, want %d", query, res.StatusCode, want)
		}
	}
	for _, args := range [][]string{{"unsubscribe", "--channel", odd}, {"unsubscribe", "x", "--callback-url", "y", "--channel", odd}} {
		wantCode(t, command(t, args...), 2)
	}
}
