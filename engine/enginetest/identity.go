package enginetest

import (
	"github.com/watermarkchurch/toot-go/engine"
)

// A job is the same if all of its event's channel, ID and replay mark, and its
// lane are.
var identityChecks = []check{
	{"of_another_channel_is_another", 0, identityChannel},
	{"of_another_replay_mark_is_another", 0, identityReplay},
	{"is_kept_apart_by_every_part", 0, identityParts},
	{"counts_as_a_whole_when_the_job_is_done", 0, identityDone},
	{"counts_as_a_whole_when_the_job_is_dead", 0, identityDead},
	{"comes_back_with_the_event", 0, identityComesBack},
	{"is_kept_in_the_dead_letters", deadLetters, identityInDeadLetters},
	{"is_inherited_by_follow_ups", 0, identityInherited},
	{"of_follow_ups_counts_as_a_whole", 0, identityFollow},
}

// about is an event with a channel and a replay mark of its own.
func about(id, channel, replay string) *engine.Event {
	ev := event(id)
	ev.Channel, ev.Replay = channel, replay
	return ev
}

func identityChannel(e *env) {
	a, l := e.open(), deliver(url1)
	if !a.pushed(about("e", "users", ""), l) || !a.pushed(about("e", "orders", ""), l) || !a.pushed(about("e", "", ""), l) {
		e.Fatalf("the same ID on another channel must be another job, for one callback URL too: it was taken for a repetition")
	}
	a.again("the same ID on the same channel is the same job", about("e", "orders", ""), l)
	a.again("the same ID without a channel is the same job", about("e", "", ""), l)
}

func identityReplay(e *env) {
	a, l := e.open(), deliver(url1)
	a.push(engine.Job{Event: about("e", channel, ""), Lane: l})
	for _, mark := range []string{"one", "two", "ONE", " "} {
		if !a.pushed(about("e", channel, mark), l) {
			e.Fatalf("an event with another replay mark must be another job: %q was taken for a repetition", mark)
		}
	}
	for _, mark := range []string{"", "one", "two", "ONE", " "} {
		a.again("an event with the same replay mark is the same job", about("e", channel, mark), l)
	}
	j := a.one("a job is not replaced by one with another replay mark", l)
	if j.Event.Replay != "" {
		e.Errorf("a job must be handed out with its own replay mark: got %q, want none", j.Event.Replay)
	}
}

func identityParts(e *env) {
	a := e.open()
	for _, sep := range []string{":", "|", "/", ",", " ", "\n", "-", "#", "?", "\x1f", "\x00"} {
		l := deliver("lane" + sep)
		for _, ev := range []*engine.Event{
			about("a"+sep+"b", "c", "d"), about("b", "c"+sep+"a", "d"), about("b", "c", "d"+sep+"a"), about("b", "c", "a"+sep+"d"),
			about("c", "a", "b"+sep+"d"), about("b", "a", "c"+sep+"d"), about("a", "b"+sep+"c", "d"), about("a", "b", "c"+sep+"d"),
		} {
			if !a.pushed(ev, l) {
				e.Errorf("channel, ID and replay mark must not run together: ID %q on %q with the mark %q was taken for another job", ev.ID, ev.Channel, ev.Replay)
			}
		}
	}
}

// others are the events of which that of ID e on channel, with the mark
// "mark", must be told apart.
func others() map[string]*engine.Event {
	return map[string]*engine.Event{
		"channel":     about("e", "other", "mark"),
		"replay mark": about("e", channel, "other"),
		"no mark":     about("e", channel, ""),
		"ID":          about("other", channel, "mark"),
	}
}

func identityDone(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(engine.Job{Event: about("e", channel, "mark"), Lane: l})
	a.done(a.one("a pushed job is due", l))
	a.again("a job that is done is the same by channel, ID, replay mark and lane", about("e", channel, "mark"), l)
	for what, ev := range others() {
		if !a.pushed(ev, l) {
			e.Errorf("a job that is done must be remembered by its whole identity: another %s was taken for a repetition", what)
		}
	}
	if !a.pushed(about("e", channel, "mark"), deliver("other lane")) {
		e.Errorf("a job that is done must be remembered by its whole identity: another lane was taken for a repetition")
	}
}

func identityDead(e *env) {
	a, l := e.open(), deliver("lane")
	a.bury(about("e", channel, "mark"), l, "reason")
	a.again("a job that is dead is the same by channel, ID, replay mark and lane", about("e", channel, "mark"), l)
	for what, ev := range others() {
		if !a.pushed(ev, l) {
			e.Errorf("a job that is dead must be remembered by its whole identity: another %s was taken for a repetition", what)
		}
	}
}

func identityComesBack(e *env) {
	a := e.open()
	for i, mark := range append([]string{"", everyByte}, strange...) {
		l := deliver(string(rune('A' + i)))
		ev := about("e", channel, mark)
		ev.Meta = []byte(everyByte)
		a.push(engine.Job{Event: ev, Lane: l})
		j := a.one("a pushed job is due", l)
		if err := same(j.Event, ev); err != nil {
			e.Errorf("a claimed job must come with replay mark and Meta unchanged: %v", err)
		}
		a.works("Retry takes effect", outcome(j, engine.Retry))
		if err := same(a.one("a retried job is due", l).Event, ev); err != nil {
			e.Errorf("a retried job must come with replay mark and Meta unchanged: %v", err)
		}
	}
}

func identityInDeadLetters(e *env) {
	a, l := e.open(), deliver("lane")
	for _, ev := range []*engine.Event{about("e", "users", "mark"), about("e", "orders", "mark"), about("e", "orders", "")} {
		a.bury(ev, l, "reason "+ev.Channel+ev.Replay)
	}
	for _, d := range a.deadN(3, engine.DeadQuery{}) {
		if d.Reason != "reason "+d.Event.Channel+d.Event.Replay {
			e.Errorf("a dead letter must keep its own channel and replay mark: %q, %q are those of %q", d.Event.Channel, d.Event.Replay, d.Reason)
		}
		a.redrive(1, d.ID)
		j := a.one("a redriven job is due", l)
		if err := same(j.Event, d.Event); err != nil {
			e.Errorf("a redriven job must keep its event: %v", err)
		}
		a.done(j)
	}
}

func identityInherited(e *env) {
	a := e.open()
	fanout := engine.Lane{Kind: engine.FanOut, Name: channel}
	for _, mark := range []string{"", "one", "two"} {
		ev := about("e", channel, mark)
		a.push(engine.Job{Event: ev, Lane: fanout})
		o := outcome(a.one("an event with another replay mark is another job", fanout), engine.Done)
		o.Follow = []engine.Job{{Lane: deliver(url1)}, {Lane: deliver(url2), Lease: long}}
		f := a.works("Done with follow-ups takes effect", o)[0].Follow
		if f[1] == "" {
			e.Fatalf("the follow-ups of an event with another replay mark must be other jobs: %q was taken for a repetition", mark)
		}
		j := a.one("the follow-ups of an event with another replay mark are other jobs", deliver(url1))
		if err := same(j.Event, ev); err != nil {
			e.Errorf("a follow-up without an event must inherit that of the settled job, with its replay mark and Meta: %v", err)
		}
		a.done(j)
		a.again("a follow-up is the same job as a pushed one", ev, deliver(url1))
		a.again("a follow-up is the same job as a pushed one", ev, deliver(url2))
	}
}

func identityFollow(e *env) {
	a, l := e.open(), deliver("lane")
	o := outcome(a.fanout("fanned out"), engine.Done)
	want := 0
	events := others()
	events["itself"] = about("e", channel, "mark")
	for _, ev := range events {
		o.Follow = append(o.Follow, engine.Job{Event: ev, Lane: l, Lease: long}, engine.Job{Event: ev, Lane: l, Lease: long})
		want++
	}
	got := map[bool]int{}
	for _, t := range a.works("Done with follow-ups takes effect", o)[0].Follow {
		got[t != ""]++
	}
	if got[true] != want {
		e.Fatalf("follow-ups must be told apart by their whole identity: of %d that differ, each given twice, %d were stored", want, got[true])
	}
}
