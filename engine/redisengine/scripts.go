package redisengine

import (
	"embed"
	"strings"

	"github.com/redis/rueidis"
)

//go:embed lua/*.lua
var sources embed.FS

// Flags of Redis 7 scripts. Without allow-oom a server that is out of memory
// refuses a script before it has done anything.
const (
	needsMemory = "#!lua\n"
	allowOOM    = "#!lua flags=allow-oom\n"
)

// queueScript is a script that works on a queue, with lua/lib.lua at its head.
type queueScript struct {
	lua   *rueidis.Lua
	parts int // of the answer
}

// Whatever empties the queue works while the server is out of memory.
var (
	pushScript   = onQueue(needsMemory, 6, "store", "audience", "push")
	pastScript   = onQueue(needsMemory, 6, "store", "past")
	claimScript  = onQueue(allowOOM, 8, "claim")
	settleScript = onQueue(allowOOM, 7, "store", "settle")
	followScript = onQueue(needsMemory, 7, "store", "settle")
	deferScript  = onQueue(needsMemory, 2, "defer")
	deadScript   = onQueue(allowOOM, 3, "dead")
	laneScript   = onQueue(allowOOM, 8, "lane")
	pageScript   = onQueue(allowOOM, 2, "lanepage")
	trimScript   = onQueue(allowOOM, 2, "trim")
	retainScript = onQueue(allowOOM, 2, "retain")
	timeScript   = onQueue(allowOOM, 2, "time")
	clockScript  = onQueue(allowOOM, 3, "clock")
)

// These work on keys outside of the queues.
var (
	subscribersScript = script(allowOOM, "audience", "subscribers")
	registerScript    = script(needsMemory, "register")
	unregisterScript  = script(allowOOM, "unregister")
	attributesScript  = script(allowOOM, "attributes", "readattributes")
	swapScript        = script(needsMemory, "attributes", "swap")
	rememberScript    = script(needsMemory, "remember")
	replaceScript     = script(needsMemory, "replace")
)

func onQueue(flags string, parts int, names ...string) *queueScript {
	return &queueScript{script(flags, append([]string{"lib"}, names...)...), parts}
}

func script(flags string, names ...string) *rueidis.Lua {
	var b strings.Builder
	b.WriteString(flags)
	for _, name := range names {
		source, err := sources.ReadFile("lua/" + name + ".lua")
		if err != nil {
			panic(err) // they are embedded
		}
		b.Write(source)
	}
	return rueidis.NewLuaScript(b.String())
}
