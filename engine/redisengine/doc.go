// Package redisengine keeps toot's subscribers and jobs in Redis, so that any
// number of processes on many machines share the work: one Redis server of
// version 7.0 or later (or Valkey), a set of servers that Sentinel watches, or a
// Redis Cluster.
//
//	store, err := redisengine.Open(ctx, "redis://localhost:6379", &redisengine.Options{Namespace: "shop"})
//	app, err := toot.New(store, nil)
//
// Every process of an app uses the same namespace, and every app one of its
// own. Subscribers and credentials lie where apps that use the Ruby gem keep
// them, and are shared with those.
//
// All state is in the server. A call runs one Lua script for each shard that it
// touches, and takes effect as a whole on each. Times are by the server's clock,
// corrected when somebody sets it. A call that meets an outage tries again for
// five seconds before it returns an error; one of which it is not known whether
// it took effect returns an engine.ErrUncertain.
//
// How much an acknowledged event is worth when the server crashes depends on the
// server's settings; Options.Logger gets a warning where they can lose one.
// docs/operating.md says what the settings mean, which permissions are needed,
// and how much memory events take.
package redisengine

// The files:
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
