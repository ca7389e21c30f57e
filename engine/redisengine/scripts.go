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

// Whatever empties the queue works while the server is out of memory.
var (
	pushScript   = script(needsMemory, "lib", "store", "push")
	claimScript  = script(allowOOM, "lib", "claim")
	settleScript = script(allowOOM, "lib", "store", "settle")
	followScript = script(needsMemory, "lib", "store", "settle")
	deferScript  = script(needsMemory, "lib", "defer")
	deadScript   = script(allowOOM, "lib", "dead")
	laneScript   = script(allowOOM, "lib", "lane")
	trimScript   = script(allowOOM, "lib", "trim")
)

func script(flags string, parts ...string) *rueidis.Lua {
	var b strings.Builder
	b.WriteString(flags)
	for _, part := range parts {
		source, err := sources.ReadFile("lua/" + part + ".lua")
		if err != nil {
			panic(err) // they are embedded
		}
		b.Write(source)
	}
	return rueidis.NewLuaScript(b.String())
}
