-- SwapAttribute. The keys are those of lua/attributes.lua.
--
--   | argument                                                               |
--   | the name                                                               |
--   | the value that it must have, and the new one; empty for none           |
--   | the time                                                               |
--   | for how long it is kept, 0 for ever                                    |
--   | 1 if this may have been done before, and only the answer was lost      |
--
-- It answers 1 if the attribute has the new value because of this call.
local name, old, new, now, keep, again = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local has = redis.call('HGET', KEYS[1], name) or ''
local _, left = ageOf(redis.call('HGET', KEYS[2], name), has, now)
if left and left <= 0 then
  has = ''
end
if has ~= old and not (again == '1' and has == new) then
  return 0
end
if new == '' then
  redis.call('HDEL', KEYS[1], name)
  redis.call('HDEL', KEYS[2], name)
else
  redis.call('HSET', KEYS[1], name, new)
  redis.call('HSET', KEYS[2], name, string.format('%d %d ', now, keep > 0 and now + keep or 0) .. digestOf(new))
end
return 1
