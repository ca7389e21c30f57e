-- RemoveSubscriber, with the keys of lua/audience.lua.
--
--   | argument                                                               |
--   | the callback URL                                                       |
--   | the time                                                               |
--   | how long ago it was added at least for it to be removed                |
--
-- It answers 1 if the subscriber was there and is removed.
local channel, registered, ends = KEYS[1], KEYS[2], KEYS[3]
local url, now, age = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local added = redis.call('HGET', registered, url)
local last = redis.call('ZSCORE', ends, url)
local over = last and tonumber(last) <= now
if age > 0 and added and not over and now - tonumber(added) < age then
  return 0
end
local removed = redis.call('SREM', channel, url)
redis.call('HDEL', registered, url)
redis.call('ZREM', ends, url)
return over and 0 or removed
