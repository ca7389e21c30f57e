package redisengine

import "time"

// For tests outside of the package.
var (
	JobKey       = func(id string) string { return jobKey(new(arena), id) }
	ClientOption = clientOption
)

// SetServerTime makes the engine think that the server's clock says so.
func (e *Engine) SetServerTime(now time.Time) {
	for _, s := range e.shards {
		s.setTime(now.UnixMicro())
	}
}
