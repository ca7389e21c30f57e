-- Attributes of a group have two keys:
--
--   values  hash  name -> value
--   times   hash  name -> when it was set, when it ends (0 for never) and a
--                 digest of the value
--
-- Older versions know of the values alone. What they have set since has another
-- digest, or none.

local function digestOf(value)
  return string.sub(redis.sha1hex(value), 1, 16)
end

-- ageOf returns how long ago a value was set and how long it will be kept, as
-- far as they are known.
local function ageOf(times, value, now)
  if not times then
    return nil, nil
  end
  local set, last, digest = string.match(times, '^(%d+) (%d+) (%x+)$')
  if digest ~= digestOf(value) then
    return nil, nil
  end
  return now - tonumber(set), last ~= '0' and tonumber(last) - now or nil
end
