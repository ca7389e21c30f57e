-- Remember. The keys are
--
--   values  hash  key -> value
--   ends    zset  key -> until when it is remembered
--
--   | argument                                                               |
--   | the key and the value                                                  |
--   | the time                                                               |
--   | for how long it is remembered                                          |
--
-- It answers with the value that is remembered now. What is over is forgotten in
-- passing.
local FORGET_AT_ONCE = 100
local values, ends = KEYS[1], KEYS[2]
local key, value, now, span = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local over = redis.call('ZRANGE', ends, '-inf', ARGV[3], 'BYSCORE', 'LIMIT', 0, FORGET_AT_ONCE)
if #over > 0 then
  redis.call('HDEL', values, unpack(over))
  redis.call('ZREM', ends, unpack(over))
end
local last = redis.call('ZSCORE', ends, key)
if last and tonumber(last) > now then
  return redis.call('HGET', values, key)
end
redis.call('HSET', values, key, value)
redis.call('ZADD', ends, string.format('%d', now + span), key)
return value
