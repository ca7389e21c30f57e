-- What a lane holds, a part at a time.
--
--   | argument                                                               |
--   | the lane's key and code                                                |
--   | the first rank, and the number of jobs to look at                      |
--
--   | part of the answer                                                     |
--   | the time                                                               |
--   | how many jobs there were                                               |
--   | how many of them wait, are leased, and wait for a retry                |
--   | when the oldest was pushed, or empty                                   |
--   | how many of those that wait are not due yet                            |
--   | since when the first of those that wait and are due is due, or empty   |
local _, _, laneKey, code, rank, most = unpack(ARGV, 1, 6)
local found = call('ZRANGE', laneKey, rank, rank + most - 1, 'WITHSCORES')
local waiting, leased, retrying, oldest = 0, 0, 0, math.huge
local later, overdue = 0, math.huge
local ids, keys = {}, {}
for i = 1, #found, 2 do
  ids[#ids + 1] = found[i] .. code
end
local records = read('HMGET', RECORDS, ids, 1, #ids)
for i = 1, #ids do
  local score = tonumber(found[2 * i])
  local stamp = floor(score / 2)
  local held = score % 2 == 1 and score > now * 2 + 1
  if held then
    leased = leased + 1
  else
    waiting = waiting + 1
    if stamp > now then
      later = later + 1
    else
      overdue = min(overdue, stamp)
    end
  end
  if records[i] then
    local _, attempt, pushed = fields(RECORD, records[i])
    stamp = pushed
    if attempt > 0 and not held then
      retrying = retrying + 1
    end
  elseif score % 2 == 1 then
    keys[#keys + 1] = found[2 * i - 1] -- only the event knows
    stamp = math.huge
  end
  oldest = min(oldest, stamp)
end
for _, event in ipairs(read('HMGET', EVENTS, keys, 1, #keys)) do
  if event then
    oldest = min(oldest, (fields('>I8', event)))
  end
end
return {
  format('%d', now), #ids, waiting, leased, retrying, oldest < math.huge and format('%d', oldest) or '',
  later, overdue < math.huge and format('%d', overdue) or '',
}
