-- Settle.
--
--   | argument                                                               |
--   | channel and sender of hints                                            |
--   | the dedupe window where the store has none                             |
--   | how many dead letters are kept, and how long, where it does not say    |
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

local _, _, hints, sender, window, deadMost, deadAge, follows = unpack(ARGV, 1, 8)
position = 8
local lanes = leaveList(3)
local groups, ngroups = leaveList(2)
local n, plain = tonumber(nextArgument()), nextArgument() == '1'
local jobs = leave(n)
local rows = tonumber(nextArgument())
local scores, beforeScores = ARGV, 0
if rows == n then
  beforeScores = leave(n)
else
  scores = {}
  for r = position + 1, position + 2 * rows, 2 do
    local score, last = ARGV[r], #scores
    for j = last + 1, last + tonumber(ARGV[r + 1]) do
      scores[j] = score
    end
  end
  leave(2 * rows)
end
local operations = leave(plain and 0 or n)

local stale, anyStale = {}, false

-- held finds out which outcomes from i+1 to i+size are not stale, and returns
-- whether all are. Jobs that were claimed together have the same score: asking
-- who has it is cheaper than asking each for its score, which the server
-- prints for each with all digits.
local function held(laneKey, i, size)
  local ask, asked, m = {}, {}, 1
  while m <= size do
    local score, last = scores[beforeScores + i + m], m
    while last < size and scores[beforeScores + i + last + 1] == score do
      last = last + 1
    end
    local has, row = {}, last - m + 1
    if row >= 8 then
      for _, key in ipairs(call('ZRANGE', laneKey, score, score, 'BYSCORE', 'LIMIT', 0, 2 * row)) do
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

local dropped = {} -- keys of events that lose a job
local tokens = {}
local buried = false

if plain then
  -- All are plainly Done. Mostly nothing has to be picked out.
  local i = 0
  for group = 1, ngroups do
    local lane, size = tonumber(ARGV[groups + 2 * group - 1]), tonumber(ARGV[groups + 2 * group])
    local laneKey = KEYS[FIXED + 1 + lane]
    if held(laneKey, i, size) then
      write('ZREM', laneKey, nil, ARGV, jobs + i + 1, jobs + i + size)
    else
      local gone = {}
      for j = i + 1, i + size do
        if not stale[j] then
          gone[#gone + 1] = ARGV[jobs + j]
        end
      end
      write('ZREM', laneKey, nil, gone, 1, #gone)
    end
    i = i + size
  end
  for j = 1, anyStale and n or 0 do
    if not stale[j] then
      dropped[#dropped + 1] = ARGV[jobs + j]
    end
  end
else
  -- settleAny settles outcomes of all kinds.
  local function settleAny()
    local RECORDED, APART, NOTED = 8, 16, 32
    local FURTHER = {[DONE] = 0, [RETRY] = 2, [BURY] = 1, [RELEASE] = 3, [EXTEND] = 2}
    local records, norecord = {}, {}
    local released, noted, histories = {}, {}, {} -- whose records are to be changed
    local again, gone -- of the lane at hand: jobs that stay, and those that do not

    -- stay gives a job another score.
    local function stay(key, score)
      again[#again + 1] = score
      again[#again + 1] = key
    end

    -- keep gives a job another record.
    local function keep(id, record)
      records[#records + 1] = id
      records[#records + 1] = record
    end

    local function extend(kind, name, id, key, after, turn, recorded, history)
      local score = format('%d', leaseEnd(tonumber(after), tonumber(turn)))
      stay(key, score)
      tokens[#tokens + 1] = score
      touch(kind, name, score)
      if history and recorded then
        noted[#noted + 1] = id
        histories[#histories + 1] = history
      elseif history then
        keep(id, history)
      end
    end

    -- giveBack makes a job due, with a new record if it is not empty.
    local function giveBack(kind, name, id, key, stamp, record)
      stay(key, format('%d', stamp * 2))
      due(kind, name, stamp * 2)
      if record ~= '' then
        keep(id, record)
      else
        released[#released + 1] = id
      end
    end

    local function bury(record)
      clock = max(clock + 1, now)
      local id = format('%d', clock)
      call('ZADD', DEAD, clock, id)
      call('HSET', BURIED, id, record)
      buried = true
    end

    -- apply carries out one operation.
    local function apply(i, kind, name, code)
      local key, operation = ARGV[jobs + i], tonumber(ARGV[operations + i])
      local result, recorded = operation % RECORDED, bit.band(operation, RECORDED) > 0
      local event, id = key, key .. code
      if bit.band(operation, APART) > 0 then
        event = nextArgument()
      end
      local a, b, c = unpack(ARGV, position + 1, position + 3)
      local history = bit.band(operation, NOTED) > 0
      leave(FURTHER[result] + (history and 1 or 0))
      if stale[i] then
        if result == EXTEND then
          tokens[#tokens + 1] = ''
        end
      elseif result == EXTEND then
        extend(kind, name, id, key, a, b, recorded, history and c)
      elseif result == RETRY then
        giveBack(kind, name, id, key, now + a, b)
      elseif result == RELEASE then
        giveBack(kind, name, id, key, a == '0' and tonumber(b) or now + a, c)
      else
        gone[#gone + 1] = key
        if recorded then
          norecord[#norecord + 1] = id
        end
        if result == BURY then
          bury(a)
        else
          dropped[#dropped + 1] = event
        end
      end
    end

    local i = 0
    for group = 1, ngroups do
      local lane, size = tonumber(ARGV[groups + 2 * group - 1]), tonumber(ARGV[groups + 2 * group])
      local laneKey = KEYS[FIXED + 1 + lane]
      held(laneKey, i, size)
      again, gone = {}, {}
      local kind, name, code = tonumber(ARGV[lanes + 3 * lane + 1]), ARGV[lanes + 3 * lane + 2], ARGV[lanes + 3 * lane + 3]
      for j = i + 1, i + size do
        apply(j, kind, name, code)
      end
      write('ZREM', laneKey, nil, gone, 1, #gone)
      write('ZADD', laneKey, nil, again, 1, #again)
      i = i + size
    end
    for j, record in ipairs(read('HMGET', RECORDS, released, 1, #released)) do
      if record then
        keep(released[j], pack('>I4', (fields('>I4', record) + RELEASED - 1) % 2 ^ 32) .. string.sub(record, 5))
      end
    end
    for j, record in ipairs(read('HMGET', RECORDS, noted, 1, #noted)) do
      if record then
        keep(noted[j], string.sub(record, 1, RECORD_HEADER + string.byte(record, RECORD_HEADER)) .. histories[j])
      end
    end
    write('HSET', RECORDS, nil, records, 1, #records)
    write('HDEL', RECORDS, nil, norecord, 1, #norecord)
  end
  settleAny()
end
local new, leases, base = '', {}, 0
if follows == '1' then
  new, leases, base = store(tonumber(window), stale)
end
if plain and not anyStale then
  unrefer(ARGV, jobs + 1, jobs + n)
else
  unrefer(dropped, 1, #dropped)
end
if buried then
  trim(tonumber(deadMost), tonumber(deadAge))
end
local ok = {}
for i = 1, anyStale and n or 0 do
  ok[i] = stale[i] and '0' or '1'
end
return {format('%d', now), table.concat(ok), tokens, new, leases, format('%d', base), finish(hints, sender)}
