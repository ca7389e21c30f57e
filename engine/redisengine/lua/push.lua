-- Push. Arguments: channel and sender of hints, dedupe window, jobs.
local new, tokens = store(4, tonumber(ARGV[3]))
return {format('%d', now), new, tokens, finish(ARGV[1], ARGV[2])}
