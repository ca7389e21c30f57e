package redisengine

import (
	"github.com/watermarkchurch/toot-go/engine"
)

// shard is a complete queue under one hash tag. An event and all its jobs are
// in one shard.
type shard struct {
	number int // in Engine.queues
	// former is whether it is a queue of format 1, see format.go: it has other
	// job keys, and its clock is the server's.
	former  bool
	twin    *shard // the queue of format 1 beside it, if there is one
	prefix  string // of all its keys
	fixed   []string
	lanes   string // prefix of the keys of lanes
	meta    string
	records string
	dead    string
	buried  string
	events  string
	ready   [3]string
	rest    [3]string
	clock   clock
	naps    [3]nap // of a queue of format 1
}

// kinds are the kinds of lanes, in the order of ready and rest.
var kinds = [3]engine.Kind{engine.FanOut, engine.Deliver, engine.Handle}

// formatPrefix is in the names of a queue's keys. Those of format 1 had none.
const formatPrefix = "2:"

// newShard returns a shard of so many.
func newShard(namespace string, number, of int) *shard {
	return newQueue(tag(namespace, number, of)+":"+formatPrefix, number)
}

// newFormer returns the queue of format 1 beside a shard.
func newFormer(namespace string, number, of int) *shard {
	s := newQueue(tag(namespace, number, of)+":", of+number)
	s.former = true
	return s
}

func newQueue(prefix string, number int) *shard {
	s := &shard{
		number: number, prefix: prefix, lanes: prefix + "lane:", meta: prefix + "meta",
		records: prefix + "records", dead: prefix + "dead", buried: prefix + "buried", events: prefix + "events",
	}
	for i, k := range kinds {
		s.ready[i] = prefix + "ready:" + k.String()
		s.rest[i] = prefix + "rest:" + k.String()
	}
	s.fixed = []string{
		s.meta, s.events, prefix + "refs", s.records, s.dead, s.buried, prefix + "seen:1", prefix + "seen:2",
		s.ready[0], s.ready[1], s.ready[2], s.rest[0], s.rest[1], s.rest[2],
	}
	return s
}

// lanePrefix is what the keys of a kind's lanes start with.
func (s *shard) lanePrefix(k engine.Kind) string {
	return s.lanes + k.String() + ":"
}

func (s *shard) laneKey(l engine.Lane) string { return s.lanePrefix(l.Kind) + l.Name }

// jobKey is the key of an event's jobs in this queue.
func (s *shard) jobKey(a *arena, i identity) string {
	if s.former && i.replay == "" {
		return idKey(a, i.id)
	}
	return jobKey(a, i.channel, i.id, i.replay)
}

func identityOf(e *engine.Event) identity { return identity{e.ID, e.Channel, e.Replay} }
