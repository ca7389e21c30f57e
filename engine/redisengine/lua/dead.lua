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
local _, _, hints, sender = unpack(ARGV, 1, 4)
position = 4
local lanes = leaveList(3)
local letters, n = leaveList(5)
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

for i = letters + 1, letters + 5 * n, 5 do
  local id, event, lane, key, record = unpack(ARGV, i, i + 4)
  if call('ZREM', DEAD, id) == 1 then
    found = found + 1
    call('HDEL', BURIED, id)
    if lane == '-1' or not revive(tonumber(lane), key, record) then
      dropped[#dropped + 1] = event
    end
  end
end
unrefer(dropped, 1, #dropped)
return {format('%d', now), found, finish(hints, sender)}
