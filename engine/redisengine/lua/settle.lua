-- Settle.
--
--   | argument                                                               |
--   | channel and sender of hints                                            |
--   | the dedupe window                                                      |
--   | how many dead letters are kept, and how long                           |
--   | 1 if there are follow-up jobs, else 0                                  |
--   | the number of lanes, then kind, name and code of each                  |
--   | the number of groups, then the lane (from 0) and the size of each      |
--   | the number of outcomes                                                 |
--   | 1 if all are plainly Done, else 0                                      |
--   | their job keys, ordered by group                                       |
--   | the number of scores, then the scores, ordered as the job keys; if     |
--   |   there are fewer than outcomes, behind each for how many in a row it  |
--   |   is                                                                   |
--   | the operations, unless all are plainly Done, ordered as the job keys   |
--   | further arguments of the operations, as they come                      |
--   | the follow-up jobs, if any, as lua/store.lua reads them, with the same |
--   |   lanes                                                                |
--
-- An operation is the engine.Result plus the following, of which each has the
-- further arguments in this order:
--
--   | 16      | its event key is not its job key | the event key             |
--   | 8       | the job has a record             |                           |
--   | Retry   |                                  | After, the new record     |
--   | Release |                                  | After, or 0; when it was  |
--   |         |                                  | due; the new record, or   |
--   |         |                                  | empty if it has one       |
--   | Extend  |                                  | After, the turn           |
--   | 32      | it has a new history             | the new record; if it has |
--   |         |                                  | one, the history alone    |
--   | Bury    |                                  | the dead letter's record  |
--
--   | part of the answer                                                     |
--   | the time                                                               |
--   | which outcomes took effect, as a string of 0 and 1; empty if all did   |
--   | the new score of each Extend, empty if it is stale                     |
--   | of the follow-up jobs what store returns: which are new, the scores of |
--   |   the classes, the time stamp before the first's                       |
--   | the kinds that were told of                                            |
local DONE, RETRY, BURY, RELEASE, EXTEND = 1, 2, 3, 4, 5
local RECORDED, APART, NOTED = 8, 16, 32

local hints, sender, window = nextArgument(), nextArgument(), nextNumber()
local deadMost, deadAge = nextNumber(), nextNumber()
local follows = nextArgument() == '1'
local lanes = leave(3 * nextNumber())
local ngroups = nextNumber()
local groups = leave(2 * ngroups)
local n, plain = nextNumber(), nextArgument() == '1'
local jobs = leave(n)
local rows = nextNumber()
local scores, beforeScores = ARGV, 0
if rows == n then
  beforeScores = leave(n)
else
  scores = {}
  for _ = 1, rows do
    local score, last = nextArgument(), #scores
    for j = last + 1, last + nextNumber() do
      scores[j] = score
    end
  end
end
local operations = leave(plain and 0 or n)

local stale, anyStale = {}, false
local dropped = {} -- keys of events that lose a job
local records, norecord = {}, {}
local released, noted, histories = {}, {}, {} -- whose records are to be changed
local tokens = {}
local buried = false

-- bury puts a job into the dead letters.
local function bury(record)
  know()
  clock = max(clock + 1, now)
  local id = format('%d', clock)
  call('ZADD', DEAD, clock, id)
  call('HSET', BURIED, id, record)
  buried = true
end

-- extend notes the new end of a lease.
local function extend(again, id, key, recorded, withHistory, kind, name)
  local after, turn = nextNumber(), nextNumber()
  local history = withHistory and nextArgument()
  local score = format('%d', leaseEnd(after, turn))
  again[#again + 1] = score
  again[#again + 1] = key
  tokens[#tokens + 1] = score
  touch(kind, name, score)
  if history and recorded then
    noted[#noted + 1] = id
    histories[#histories + 1] = history
  elseif history then
    records[#records + 1] = id
    records[#records + 1] = history
  end
end

-- giveBack makes a job due again.
local function giveBack(again, id, key, result, kind, name)
  local after = nextNumber()
  local score = (now + after) * 2
  if result == RELEASE then
    local place = nextNumber()
    if after == 0 then
      score = place * 2
    end
  end
  local record = nextArgument()
  score = format('%d', score)
  again[#again + 1] = score
  again[#again + 1] = key
  if record ~= '' then
    records[#records + 1] = id
    records[#records + 1] = record
  else
    released[#released + 1] = id
  end
  due(kind, name, tonumber(score))
end

-- skip leaves out the further arguments of a stale outcome.
local function skip(result, withHistory)
  if result == EXTEND then
    tokens[#tokens + 1] = ''
    leave(withHistory and 3 or 2)
  elseif result == RELEASE then
    leave(3)
  elseif result == RETRY then
    leave(2)
  elseif result == BURY then
    leave(1)
  end
end

-- apply carries out an operation that is not plainly Done. What it does to the
-- lane it adds to gone and again.
local function apply(i, kind, name, code, gone, again)
  local key, operation = ARGV[jobs + i], tonumber(ARGV[operations + i])
  local result, recorded = operation % RECORDED, bit.band(operation, RECORDED) > 0
  local withHistory = bit.band(operation, NOTED) > 0
  local event, id = key, key .. code
  if bit.band(operation, APART) > 0 then
    event = nextArgument()
  end
  if stale[i] then
    skip(result, withHistory)
  elseif result == EXTEND then
    extend(again, id, key, recorded, withHistory, kind, name)
  elseif result == DONE or result == BURY then
    gone[#gone + 1] = key
    if recorded then
      norecord[#norecord + 1] = id
    end
    if result == BURY then
      bury(nextArgument())
    else
      dropped[#dropped + 1] = event
    end
  else
    giveBack(again, id, key, result, kind, name)
  end
end

-- held finds out which outcomes from i+1 to i+size are not stale, and returns
-- whether all are. Jobs that were claimed together have the same score: asking
-- who has it is cheaper than asking each for its score, which the server prints
-- for each with all digits.
local function held(laneKey, i, size)
  local ask, asked, m = {}, {}, 1
  while m <= size do
    local score, last = scores[beforeScores + i + m], m
    while last < size and scores[beforeScores + i + last + 1] == score do
      last = last + 1
    end
    local has, run = {}, last - m + 1
    if run >= 8 then
      for _, key in ipairs(call('ZRANGE', laneKey, score, score, 'BYSCORE', 'LIMIT', 0, 2 * run)) do
        has[key] = true
      end
    end
    for j = m, last do
      local key = ARGV[jobs + i + j]
      if not has[key] then
        ask[#ask + 1], asked[#asked + 1] = key, i + j
      end
    end
    m = last + 1
  end
  local good = true
  for j, score in ipairs(read('ZMSCORE', laneKey, ask, 1, #ask)) do
    if score ~= scores[beforeScores + asked[j]] then
      stale[asked[j]], anyStale, good = true, true, false
    end
  end
  return good
end

-- settleGroup settles the outcomes i+1 to i+size, which are of one lane.
local function settleGroup(lane, i, size)
  local laneKey = KEYS[FIXED + 1 + lane]
  local good = held(laneKey, i, size)
  if plain and good then
    -- What most calls are made of: nothing has to be picked out.
    write('ZREM', laneKey, nil, ARGV, jobs + i + 1, jobs + i + size)
    return
  end
  local gone, again = {}, {}
  local kind, name, code = tonumber(ARGV[lanes + 3 * lane + 1]), ARGV[lanes + 3 * lane + 2], ARGV[lanes + 3 * lane + 3]
  for j = i + 1, i + size do
    if not plain then
      apply(j, kind, name, code, gone, again)
    elseif not stale[j] then
      gone[#gone + 1] = ARGV[jobs + j]
    end
  end
  write('ZREM', laneKey, nil, gone, 1, #gone)
  write('ZADD', laneKey, nil, again, 1, #again)
end

-- changeRecords writes down what became of the jobs' records.
local function changeRecords()
  for j, record in ipairs(read('HMGET', RECORDS, released, 1, #released)) do
    if record then
      records[#records + 1] = released[j]
      records[#records + 1] = pack('>I4', (fields('>I4', record) + RELEASED - 1) % 2 ^ 32) .. string.sub(record, 5)
    end
  end
  for j, record in ipairs(read('HMGET', RECORDS, noted, 1, #noted)) do
    if record then
      records[#records + 1] = noted[j]
      records[#records + 1] = string.sub(record, 1, RECORD_HEADER + string.byte(record, RECORD_HEADER)) .. histories[j]
    end
  end
  write('HSET', RECORDS, nil, records, 1, #records)
  write('HDEL', RECORDS, nil, norecord, 1, #norecord)
end

-- dropEvents gives up the events of the jobs that are gone.
local function dropEvents()
  if plain and not anyStale then
    unrefer(ARGV, jobs + 1, jobs + n)
    return
  end
  if plain then
    for i = 1, n do
      if not stale[i] then
        dropped[#dropped + 1] = ARGV[jobs + i]
      end
    end
  end
  unrefer(dropped, 1, #dropped)
end

-- flags tells which outcomes took effect.
local function flags()
  if not anyStale then
    return ''
  end
  local all = {}
  for i = 1, n do
    all[i] = stale[i] and '0' or '1'
  end
  return table.concat(all)
end

local settled = 0
for group = 1, ngroups do
  local size = tonumber(ARGV[groups + 2 * group])
  settleGroup(tonumber(ARGV[groups + 2 * group - 1]), settled, size)
  settled = settled + size
end
changeRecords()
local new, leases, base = '', {}, 0
if follows then
  new, leases, base = store(window, stale)
end
dropEvents()
if buried then
  trim(deadMost, deadAge)
end
return {format('%d', now), flags(), tokens, new, leases, format('%d', base), finish(hints, sender)}
