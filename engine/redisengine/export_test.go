package redisengine

import "time"

// For tests outside of the package.
var (
	JobKey       = func(channel, id, replay string) string { return jobKey(new(arena), channel, id, replay) }
	IDKey        = func(id string) string { return idKey(new(arena), id) }
	ClientOption = clientOption
	SlotOf       = slotOf
)

// ChannelKeys returns the keys of a channel.
func (e *Engine) ChannelKeys(channel string) [3]string { return e.channels.of(channel) }

// SetServerTime makes the engine think that the server's clock says so.
func (e *Engine) SetServerTime(now time.Time) {
	for _, s := range e.queues {
		s.clock.offset.Store(now.UnixMicro() - monotonic())
	}
}

// AsFormat1 makes the engine work on the queues of format 1 alone, as processes
// of older versions do.
func (e *Engine) AsFormat1() {
	for i := range e.shards {
		former := newFormer(e.namespace, i, len(e.shards))
		former.number = i
		e.shards[i] = former
	}
	e.queues = e.shards
}
