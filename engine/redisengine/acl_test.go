package redisengine_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

// The user that docs/operating.md tells to set up is allowed enough.
func TestLimitedUser(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?s)\n    ACL (SETUSER .*?)\n\n`).FindSubmatch(text)
	if m == nil {
		t.Fatal("docs/operating.md has no ACL SETUSER")
	}
	s := redistest.Start(t)
	s.Do(append([]string{"ACL"}, strings.Fields(strings.ReplaceAll(string(m[1]), `\`, ""))...)...)
	e := open(t, strings.Replace(s.URL(), "//", "//toot:secret@", 1), nil)
	ctx := t.Context()
	defer e.Watch(func(engine.Kind) {})()
	check := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err = e.AddSubscriber(ctx, "org.example.publisher.users", "http://a", time.Hour)
	check("AddSubscriber", err)
	_, err = e.Subscribers(ctx, "org.example.publisher.users")
	check("Subscribers", err)
	res, err := e.Push(ctx, engine.PushRequest{Channels: []string{"org.example.publisher.users"}, MaxSubscribers: 10})
	check("Push", err)
	check("Audience", res.Audiences[0].Err)
	// What others have removed is forgotten.
	s.Do("SADD", "org.example.publisher.users", "http://a")
	s.Do("SREM", "org.example.publisher.users", "http://a")
	_, err = e.Subscribers(ctx, "org.example.publisher.users")
	check("Subscribers", err)
	_, err = e.AddSubscriber(ctx, "org.example.publisher.ended", "http://a", time.Microsecond)
	check("AddSubscriber", err)
	time.Sleep(time.Millisecond)
	_, err = e.Subscribers(ctx, "org.example.publisher.ended")
	check("Subscribers", err)
	check("Ping", e.Ping(ctx))
	_, err = e.Channels(ctx, "org.example.publisher.")
	check("Channels", err)
	_, err = e.RemoveSubscriber(ctx, "org.example.publisher.users", "http://a", time.Hour)
	check("RemoveSubscriber", err)
	for _, r := range []engine.Result{engine.Retry, engine.Release, engine.Extend, engine.Bury} {
		push(t, e, "1"+string(rune('0'+r)))
		res, err := e.Claim(ctx, engine.ClaimRequest{Kind: engine.Deliver, Max: 10, MaxPerLane: 10, Lease: time.Minute})
		check("Claim", err)
		for _, j := range res.Jobs {
			_, err = e.Settle(ctx, []engine.Outcome{{Ticket: j.Ticket, Result: r, Follow: []engine.Job{{Lane: deliver("follow")}}}})
			check("Settle", err)
		}
	}
	check("Defer", e.Defer(ctx, deliver("l"), time.Minute))
	check("Defer", e.Defer(ctx, deliver("l"), 0))
	_, err = e.LanePage(ctx, engine.LaneQuery{})
	check("LanePage", err)
	_, err = e.Lanes(ctx)
	check("Lanes", err)
	dead, err := e.Dead(ctx, engine.DeadQuery{})
	check("Dead", err)
	if len(dead) == 0 {
		t.Fatal("there is no dead letter")
	}
	_, err = e.Redrive(ctx, []string{dead[0].ID})
	check("Redrive", err)
	_, err = e.Discard(ctx, []string{dead[0].ID})
	check("Discard", err)
	check("PutCredential", e.PutCredential(ctx, "org.example.publisher.toot.auth.credentials_store", "user", []byte("proof")))
	_, err = e.Credential(ctx, "org.example.publisher.toot.auth.credentials_store", "user")
	check("Credential", err)
	_, err = e.Usernames(ctx, "org.example.publisher.toot.auth.credentials_store")
	check("Usernames", err)
	_, err = e.RemoveCredential(ctx, "org.example.publisher.toot.auth.credentials_store", "user")
	check("RemoveCredential", err)
	_, err = e.SwapAttribute(ctx, "group", "name", nil, []byte("value"), time.Hour)
	check("SwapAttribute", err)
	_, err = e.SwapAttribute(ctx, "group", "name", []byte("value"), nil, 0)
	check("SwapAttribute", err)
	_, err = e.Attribute(ctx, "group", "name")
	check("Attribute", err)
	_, err = e.Attributes(ctx, "group")
	check("Attributes", err)
	_, err = e.Remember(ctx, "key", []byte("value"), time.Minute)
	check("Remember", err)
	push(t, e, "last")
	log, err := s.Try("ACL", "LOG").ToArray()
	check("ACL LOG", err)
	for _, entry := range log {
		m, _ := entry.AsMap()
		object, reason := m["object"], m["reason"]
		o, _ := object.ToString()
		r, _ := reason.ToString()
		t.Errorf("the user was refused: %s %s", r, o)
	}
}
