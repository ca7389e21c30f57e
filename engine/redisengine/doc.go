// Package redisengine is toot's distributed engine: any number of processes on
// many machines share the jobs and subscribers kept on one Redis 7.0 (or
// later, or Valkey) server, a Sentinel-managed set of servers, or a Redis
// Cluster.
//
// All state lies in the server. Every call is one Lua script for each shard
// that it touches; times are the server's.
//
//	redisengine.go  Open, New, Options, Close
//	url.go          what a URL says
//	shard.go        shards and the names of their keys
//	scripts.go      the scripts, lua/*.lua; lua/lib.lua tells the layout
//	exec.go         calling a script, through outages too
//	push.go claim.go settle.go defer.go dead.go inspect.go
//	batch.go        what one script call stores
//	merge.go        claiming from several shards
//	ticket.go record.go   what is written where, byte for byte
//	subscribers.go  the SETs that are shared with the Ruby original
//	auth.go         credentials, where the Ruby original has them, and attributes
//	watch.go        hints between processes
//	check.go        a look at the server's configuration
//
// docs/operating.md says what a server's configuration means for events.
package redisengine
