-- AddSubscriber, with the keys of lua/audience.lua.
--
--   | argument                                                               |
--   | the callback URL                                                       |
--   | the time                                                               |
--   | when the registration ends; empty for one without an end               |
--
-- It answers 1 if the subscriber is new.
local channel, registered, ends = KEYS[1], KEYS[2], KEYS[3]
local url, now, last = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local new = redis.call('SADD', channel, url)
local before = redis.call('ZSCORE', ends, url)
if before and tonumber(before) <= now then
  new = 1 -- the registration that it had was over
end
redis.call('HSET', registered, url, ARGV[2])
if last ~= '' then
  redis.call('ZADD', ends, last, url)
elseif before then
  redis.call('ZREM', ends, url)
end
return new
