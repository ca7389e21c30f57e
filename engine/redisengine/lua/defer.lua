-- Defer. The lane's key is behind the fixed ones.
--
--   | argument                                                               |
--   | channel and sender of hints                                            |
--   | kind and name of the lane                                              |
--   | for how long                                                           |
--
--   | part of the answer                                                     |
--   | the time                                                               |
--   | the kinds that were told of                                            |
local _, _, hints, sender, kind, name, wait = unpack(ARGV, 1, 7)
kind, wait = tonumber(kind), tonumber(wait)
call('ZREMRANGEBYSCORE', REST[kind], '-inf', now * 2 + 1)
local bound = 0
if wait > 0 then
  bound = (now + wait) * 2
  call('ZADD', REST[kind], bound, name)
else
  call('ZREM', REST[kind], name)
end
local head = call('ZRANGE', KEYS[FIXED + 1], 0, 0, 'WITHSCORES')
if head[2] then
  bound = max(bound, tonumber(head[2]))
  call('ZADD', READY[kind], bound, name)
  earliest[kind] = bound
end
return {format('%d', now), finish(hints, sender)}
