// Package redisengine is toot's distributed engine: any number of processes on
// many machines share the jobs and subscribers kept on one Redis 7.0 (or
// later, or Valkey) server, a Sentinel-managed set of servers, or a Redis
// Cluster.
//
// All state lies in the server. Every call is one Lua script for each shard
// that it touches; times are the server's, evened out.
//
//	redisengine.go  Open, New, Options, Ping, Close
//	url.go          what a URL says
//	format.go former.go   the format of the data, and what is left of an older one
//	shard.go        shards and the names of their keys
//	keys.go slot.go       what jobs, events and channels are kept under
//	names.go        which names are nobody's channel, and where those without a prefix are kept
//	clock.go        the store's clock, which goes on evenly when the server's jumps
//	scripts.go      the scripts, lua/*.lua; lua/lib.lua tells the layout
//	exec.go answer.go     calling a script, through outages too, and reading its answer
//	push.go claim.go settle.go defer.go dead.go inspect.go lanepage.go
//	batch.go past.go      what one script call stores
//	settlement.go settleargs.go   what one script call settles
//	merge.go        claiming from several queues
//	ticket.go record.go stored.go   what is written where, byte for byte
//	subscribers.go audience.go channels.go   the SETs that are shared with the Ruby original
//	credentials.go  where the Ruby original has them
//	attributes.go memory.go
//	watch.go        hints between processes
//	nodes.go        the servers of a cluster
//	check.go        a look at the server's configuration
//
// docs/operating.md says what a server's configuration means for events.
package redisengine
