package enginetest

import (
	"errors"
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// What no store could carry out is refused before anything of it takes
// effect. The checks of single methods say the same of the rest: of jobs
// without a lane, of claims without a lease, of names that are empty.
var invalidChecks = []check{
	{"push_stores_nothing", 0, invalidPush},
	{"registration_changes_nothing", 0, invalidRegistration},
	{"claim_claims_nothing", 0, invalidClaim},
	{"outcome_stops_the_others", 0, invalidOutcome},
	{"follow_up_stops_the_others", 0, invalidFollow},
	{"query_for_dead_letters_is_refused", deadLetters, invalidDead},
	{"query_for_lanes_is_refused", inspector, invalidLanes},
	{"attribute_is_not_set", attributes, invalidAttribute},
}

// refused makes sure that a call was found to be invalid.
func (e *env) refused(what string, err error) {
	e.Helper()
	if !errors.Is(err, engine.ErrInvalid) {
		e.Errorf("%s must return ErrInvalid: got %v", what, err)
	}
}

// untouched makes sure that there is nothing in a store.
func (c *client) untouched(what string) {
	c.e.Helper()
	for _, k := range kinds {
		if js := c.claim(engine.ClaimRequest{Kind: k}).Jobs; len(js) != 0 {
			c.e.Errorf("%s must store nothing: there was %s", what, list(js))
		}
	}
	if all := c.channels(""); len(all) != 0 {
		c.e.Errorf("%s must register nobody: got %q", what, all)
	}
	if !c.e.h.NoInspector {
		if lanes := c.lanes(); len(lanes) != 0 {
			c.e.Errorf("%s must leave no lane behind: got %+v", what, lanes)
		}
	}
}

func invalidPush(e *env) {
	a, l := e.open(), deliver("lane")
	good := []engine.Job{job("good", l), {Event: event("leased"), Lane: l, Lease: long}}
	for what, req := range map[string]engine.PushRequest{
		"Push that asks for a channel without a name":        {Jobs: good, Channels: []string{""}, MaxSubscribers: 10},
		"Push that asks for a channel without a name, too":   {Jobs: good, Channels: []string{channel, "", channel}, MaxSubscribers: 10},
		"Push that asks for no subscribers of a channel":     {Jobs: good, Channels: []string{channel}},
		"Push that asks for less than none":                  {Jobs: good, Channels: []string{channel}, MaxSubscribers: -1},
		"Push without jobs that asks for no subscribers":     {Channels: []string{channel}},
		"Push without jobs that asks for an unnamed channel": {Channels: []string{""}, MaxSubscribers: 1},
		"Push of a job without an event, with channels":      {Jobs: append(slices.Clone(good), engine.Job{Lane: l}), Channels: []string{channel}, MaxSubscribers: 1},
	} {
		res, err := a.Push(e.ctx, req)
		e.refused(what, err)
		if len(res.Audiences) != 0 && err != nil {
			e.Errorf("%s must answer nothing: got %+v", what, res)
		}
		a.untouched(what)
	}
	// MaxSubscribers is of no account where no channels are asked for.
	if _, err := a.Push(e.ctx, engine.PushRequest{Jobs: good, MaxSubscribers: -1}); err != nil {
		e.Errorf("Push that asks for no channels must not mind MaxSubscribers: got %v", err)
	}
	if res, err := a.Push(e.ctx, engine.PushRequest{Channels: []string{}}); err != nil || len(res.Tickets) != 0 {
		e.Errorf("Push of nothing must succeed: got %v", err)
	}
}

func invalidRegistration(e *env) {
	a := e.open()
	for what, call := range map[string]func() error{
		"AddSubscriber without a channel":                  func() error { _, err := a.AddSubscriber(e.ctx, "", url1, 0); return err },
		"AddSubscriber without a callback URL":             func() error { _, err := a.AddSubscriber(e.ctx, channel, "", 0); return err },
		"AddSubscriber without a callback URL, for a time": func() error { _, err := a.AddSubscriber(e.ctx, channel, "", long); return err },
		"RemoveSubscriber without a channel":               func() error { _, err := a.RemoveSubscriber(e.ctx, "", url1, 0); return err },
		"Subscribers without a channel":                    func() error { _, err := a.Subscribers(e.ctx, ""); return err },
	} {
		e.refused(what, call())
		a.untouched(what)
	}
	a.add(channel, url1, true)
	removed, err := a.RemoveSubscriber(e.ctx, channel, "", 0)
	if removed || err != nil {
		e.Errorf("RemoveSubscriber of an empty callback URL must find none: got %t, %v", removed, err)
	}
	a.has("RemoveSubscriber of an empty callback URL removes nobody", channel, url1)
}

func invalidClaim(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(job("e", l))
	good := engine.ClaimRequest{Kind: engine.Deliver, Max: 10, MaxPerLane: 10, Lease: long}
	for what, limits := range map[string]map[string]int{
		"Claim with a negative limit":                 {"lane": -1},
		"Claim with a negative limit of another lane": {"lane": 5, "unknown": -1},
	} {
		req := good
		req.Limits = limits
		res, err := a.Claim(e.ctx, req)
		e.refused(what, err)
		if len(res.Jobs) != 0 {
			e.Errorf("%s must claim nothing: got %s", what, list(res.Jobs))
		}
	}
	a.one("a Claim that is refused claims nothing", l)
}

func invalidOutcome(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(jobs("e", 3, l)...)
	js := a.takeN(3, l)
	for what, bad := range map[string]engine.Outcome{
		"Retry with a negative attempt":   {Ticket: js[1].Ticket, Result: engine.Retry, Attempt: -1},
		"Bury with a negative attempt":    {Ticket: js[1].Ticket, Result: engine.Bury, Attempt: -5},
		"an outcome without a result":     {Ticket: js[1].Ticket},
		"an outcome of an unknown result": {Ticket: js[1].Ticket, Result: 6},
	} {
		first, last := outcome(js[0], engine.Done), outcome(js[2], engine.Release)
		first.Follow = []engine.Job{{Lane: deliver("followed")}}
		_, err := a.Settle(e.ctx, []engine.Outcome{first, bad, last})
		e.refused("Settle of "+what, err)
		a.none("a Settle that is refused changes nothing, and nothing follows", l, deliver("followed"))
	}
	a.works("the tickets of a Settle that was refused work", outcome(js[0], engine.Done), outcome(js[1], engine.Done), outcome(js[2], engine.Done))
	if !e.h.NoDeadLetters {
		a.deadN(0, engine.DeadQuery{})
	}
}

func invalidFollow(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(jobs("e", 2, l)...)
	js := a.takeN(2, l)
	for what, bad := range invalidJobs {
		o := outcome(js[1], engine.Extend)
		o.After, o.History, o.Follow = time.Millisecond, []byte("bad"), []engine.Job{{Lane: deliver("followed")}, bad}
		_, err := a.Settle(e.ctx, []engine.Outcome{outcome(js[0], engine.Release), o})
		e.refused("Settle with a follow-up "+what, err)
		a.none("a Settle that is refused changes nothing, and nothing follows", l, deliver("followed"))
	}
	a.works("the tickets of a Settle that was refused work", outcome(js[0], engine.Done), outcome(js[1], engine.Release))
	a.finds("a Settle that is refused notes nothing", a.one("a released job is due", l), 0, "")
}

func invalidDead(e *env) {
	a := e.open()
	a.bury(event("e"), deliver("lane"), "reason")
	_, err := a.letters().Dead(e.ctx, engine.DeadQuery{Max: -1})
	e.refused("Dead with a negative Max", err)
}

func invalidLanes(e *env) {
	a := e.open()
	i, ok := a.Engine.(engine.Inspector)
	if !ok {
		e.Fatal("the engine must implement engine.Inspector, or the harness say NoInspector")
	}
	a.push(job("e", deliver("lane")))
	for what, q := range map[string]engine.LaneQuery{
		"a negative Max":                  {Max: -1},
		"a kind that there is not":        {Kind: 77},
		"an After without a kind":         {After: engine.Lane{Name: "lane"}},
		"an After without a name":         {After: engine.Lane{Kind: engine.Deliver}},
		"an After of an unknown kind":     {After: engine.Lane{Kind: 77, Name: "lane"}},
		"an After without a name, and so": {Kind: engine.Deliver, After: engine.Lane{Kind: engine.Deliver}, Max: 1},
	} {
		_, err := i.LanePage(e.ctx, q)
		e.refused("LanePage with "+what, err)
	}
}

func invalidAttribute(e *env) {
	a := e.openAttributes()
	a.swap("group", "name", "", "value", true)
	for _, names := range [][2]string{{"", "name"}, {"group", ""}, {"", ""}} {
		for _, value := range []string{"value", ""} {
			_, err := a.SwapAttribute(e.ctx, names[0], names[1], nil, []byte(value), long)
			e.refused("SwapAttribute without group or name", err)
		}
		_, err := a.Attribute(e.ctx, names[0], names[1])
		e.refused("Attribute without group or name", err)
	}
	a.holds("what is invalid is not kept", "group", "name", "value")
	a.untouched("what is invalid")
}
