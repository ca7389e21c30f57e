-- Attribute and Attributes. The keys are those of lua/attributes.lua.
--
--   | argument                                                               |
--   | the time                                                               |
--   | the name; empty for all                                                |
--
-- It answers with name, value, age and time left of each attribute; empty for
-- what is not known or not limited.
local now, name = tonumber(ARGV[1]), ARGV[2]
local values, times = {}, {}
if name == '' then
  values = redis.call('HGETALL', KEYS[1])
  local all = redis.call('HGETALL', KEYS[2])
  for i = 1, #all, 2 do
    times[all[i]] = all[i + 1]
  end
else
  local value = redis.call('HGET', KEYS[1], name)
  if value then
    values, times = {name, value}, {[name] = redis.call('HGET', KEYS[2], name)}
  end
end
local answer = {}
for i = 1, #values, 2 do
  local age, left = ageOf(times[values[i]], values[i + 1], now)
  if left and left <= 0 then
    redis.call('HDEL', KEYS[1], values[i])
    redis.call('HDEL', KEYS[2], values[i])
  else
    local n = #answer
    answer[n + 1], answer[n + 2] = values[i], values[i + 1]
    answer[n + 3], answer[n + 4] = age and string.format('%d', age) or '', left and string.format('%d', left) or ''
  end
end
return answer
