-- Redrive and Discard. Arguments: channel and sender of hints; the number of
-- lanes, then kind, name and code of each; the number of dead letters, then
-- for each its ID and event key, and to redrive it its lane (from 0, or -1 to
-- discard it), job key and new record.
know()
local p = 3
local lanes = p
p = p + 3 * tonumber(ARGV[p]) + 1
local found, drop = 0, {}
for _ = 1, tonumber(ARGV[p]) do
  local id, event, lane, k, record = unpack(ARGV, p + 1, p + 5)
  p = p + 5
  if call('ZREM', DEAD, id) == 1 then
    found = found + 1
    call('HDEL', BURIED, id)
    lane = tonumber(lane)
    local back = false
    if lane >= 0 then
      clock = max(clock + 1, now)
      back = call('ZADD', KEYS[LANES + 1 + lane], 'NX', clock * 2, k) == 1
    end
    if back then
      call('HSET', RECORDS, k .. ARGV[lanes + 3 * lane + 3], record)
      due(tonumber(ARGV[lanes + 3 * lane + 1]), ARGV[lanes + 3 * lane + 2], clock * 2)
    else
      -- It is discarded, or was pushed again and waits already.
      drop[#drop + 1] = event
    end
  end
end
release(drop, 1, #drop)
return {found, finish(ARGV[1], ARGV[2])}
