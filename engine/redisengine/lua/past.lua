-- Push of jobs some of which have a past (engine.Job.Past).
--
--   | argument                                                               |
--   | channel and sender of hints                                            |
--   | the dedupe window where the store has none                             |
--   | how many dead letters are kept, and how long, where it does not say    |
--   | the jobs, as lua/store.lua reads them; those with a past wait for the  |
--   |   time of its Retry or Release, or not at all                          |
--   | the number of jobs with a past, then for each                          |
--   |   its place among the jobs, from 1                                     |
--   |   its lane (from 0) and the lane's code                                |
--   |   its job key, and the event key should the event not be under that    |
--   |   how many claims of it there were, its attempt, how long ago it was   |
--   |   pushed, and its history                                              |
--   |   the dead letter's record behind the event key; empty for what waits  |
--
-- The answer is that of lua/push.lua, of no channels.
local _, _, hints, sender, window, deadMost, deadAge = unpack(ARGV, 1, 7)
position = 7
local new, leases, base = store(tonumber(window))

-- remember gives a job that waits its record.
local function remember(id, stamp, key, event, claims, attempt, history)
  if event == key then
    event = ''
  end
  call('HSET', RECORDS, id, pack(RECORD, claims, attempt, stamp, #event) .. event .. history)
end

-- bury makes a dead letter of a job.
local function bury(laneKey, id, key, event, record)
  call('ZREM', laneKey, key)
  call('HDEL', RECORDS, id)
  clock = max(clock + 1, now)
  local letter = format('%d', clock)
  call('ZADD', DEAD, clock, letter)
  call('HSET', BURIED, letter, string.char(#event) .. event .. record)
end

local buried = false
for _ = 1, tonumber(nextArgument()) do
  local place, lane, code, key, apart, claims, attempt, age, history, record = unpack(ARGV, position + 1, position + 10)
  leave(10)
  local is = new == '' and '1' or string.sub(new, place, place)
  if is ~= '0' then
    local id, event = key .. code, is == '2' and apart or key
    if record == '' then
      remember(id, base + place - age, key, event, claims, attempt, history)
    else
      bury(KEYS[FIXED + 1 + lane], id, key, event, record)
      buried = true
    end
  end
end
if buried then
  trim(tonumber(deadMost), tonumber(deadAge))
end
return {format('%d', now), new, leases, format('%d', base), finish(hints, sender), {}}
