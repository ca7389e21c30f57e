-- Defer. Arguments: channel and sender of hints, kind and name of the lane,
-- for how long.
know()
local kind, name, wait = tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local ripe = now * 2 + 1
call('ZREMRANGEBYSCORE', REST[kind], '-inf', ripe)
local bound = 0
if wait > 0 then
  bound = (now + wait) * 2
  call('ZADD', REST[kind], bound, name)
else
  call('ZREM', REST[kind], name)
end
local head = call('ZRANGE', KEYS[LANES + 1], 0, 0, 'WITHSCORES')
if head[2] then
  bound = max(bound, tonumber(head[2]))
  call('ZADD', READY[kind], bound, name)
  earliest[kind] = bound
end
return {finish(ARGV[1], ARGV[2])}
