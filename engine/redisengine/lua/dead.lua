-- Redrive and Discard.
--
--   | argument                                                               |
--   | channel and sender of hints                                            |
--   | the number of lanes, then kind, name and code of each                  |
--   | the number of dead letters, then for each its ID and event key, and to |
--   |   redrive it its lane (from 0, or -1 to discard it), job key and new   |
--   |   record                                                               |
--
--   | part of the answer                                                     |
--   | the time                                                               |
--   | how many dead letters were found                                       |
--   | the kinds that were told of                                            |
know()
local hints, sender = nextArgument(), nextArgument()
local lanes = leave(3 * nextNumber())
local found, dropped = 0, {}

-- revive puts a job back into its lane, if it does not wait there already.
local function revive(lane, key, record)
  clock = max(clock + 1, now)
  if call('ZADD', KEYS[FIXED + 1 + lane], 'NX', clock * 2, key) == 0 then
    return false
  end
  call('HSET', RECORDS, key .. ARGV[lanes + 3 * lane + 3], record)
  due(tonumber(ARGV[lanes + 3 * lane + 1]), ARGV[lanes + 3 * lane + 2], clock * 2)
  return true
end

for _ = 1, nextNumber() do
  local id, event, lane, key, record = nextArgument(), nextArgument(), nextNumber(), nextArgument(), nextArgument()
  if call('ZREM', DEAD, id) == 1 then
    found = found + 1
    call('HDEL', BURIED, id)
    if lane < 0 or not revive(lane, key, record) then
      dropped[#dropped + 1] = event
    end
  end
end
unrefer(dropped, 1, #dropped)
return {format('%d', now), found, finish(hints, sender)}
