-- Settle. Arguments: channel and sender of hints, dedupe window, how many dead
-- letters are kept and how long, whether there are follow-up jobs (1 or 0);
-- then
--   the number of lanes, then kind, name and code of each
--   the number of groups, then the lane (from 0) and the size of each
--   the number of outcomes, and 1 if all are plainly Done; then their job
--   keys, ordered by group
--   the number of scores, then the scores, ordered as the job keys; if there
--   are fewer than outcomes, behind each for how many in a row it is
--   the operations, unless all are plainly Done, ordered as the job keys
--   further arguments of the operations, as they come
--   the follow-up jobs, if any, as store reads them, with the same lanes
--   the time from which it is too late, empty for never
--
-- An operation is the engine.Result, plus 8 if the job has a record, plus 16
-- if its event key is not its job key and comes as the first further argument.
if now > (tonumber(ARGV[#ARGV]) or math.huge) then
  return {format('%d', now)}
end
local DONE, RETRY, BURY, RELEASE, EXTEND = 1, 2, 3, 4, 5

local p = 7
local lanes, nlanes = p, tonumber(ARGV[p])
p = p + 3 * nlanes + 1
local groups, ngroups = p, tonumber(ARGV[p])
p = p + 2 * ngroups + 1
local n, plain = tonumber(ARGV[p]), ARGV[p + 1] == '1'
local K = p + 1
p = K + n + 1
local T, scores, rows = p, ARGV, tonumber(ARGV[p])
if rows == n then
  p = p + n
else
  T, scores = 0, {}
  for r = p + 1, p + 2 * rows, 2 do
    local score, m = ARGV[r], #scores
    for j = m + 1, m + tonumber(ARGV[r + 1]) do
      scores[j] = score
    end
  end
  p = p + 2 * rows
end
local O = p
p = (plain and O or O + n) + 1

local stale, anyStale = {}, false
local drop, records, norecord, released, tokens = {}, {}, {}, {}, {}
local buried = false

-- apply carries out an operation that is not plainly Done. What it does to the
-- lane it adds to gone and again.
local function apply(i, kind, name, code, gone, again)
  local k, op = ARGV[K + i], tonumber(ARGV[O + i])
  local result, event = op % 8, k
  if op >= 16 then
    event = ARGV[p]
    p = p + 1
  end
  local a, b = ARGV[p], ARGV[p + 1]
  p = p + (result == DONE and 0 or result == BURY and 1 or 2)
  if stale[i] then
    if result == EXTEND then
      tokens[#tokens + 1] = ''
    end
    return
  end
  if result == DONE or result == BURY then
    gone[#gone + 1] = k
    if op % 16 >= 8 then
      norecord[#norecord + 1] = k .. code
    end
    if result == DONE then
      drop[#drop + 1] = event
    else
      know()
      clock = max(clock + 1, now)
      local id = format('%d', clock)
      call('ZADD', DEAD, clock, id)
      call('HSET', BURIED, id, a)
      buried = true
    end
  elseif result == EXTEND then
    local score = format('%d', leaseEnd(tonumber(a), tonumber(b)))
    again[#again + 1] = score
    again[#again + 1] = k
    tokens[#tokens + 1] = score
    touch(kind, name, score)
  else -- RETRY or RELEASE
    local score = (now + tonumber(a)) * 2
    again[#again + 1] = score
    again[#again + 1] = k
    if b ~= '' then
      records[#records + 1] = k .. code
      records[#records + 1] = b
    else
      released[#released + 1] = k .. code
    end
    due(kind, name, score)
  end
end

-- held finds out which outcomes from i+1 to i+size are not stale, and returns
-- whether all are. Jobs that were claimed together have the same score: asking
-- who has it is cheaper than asking each for its score, which the server prints
-- for each with all digits.
local function held(key, i, size)
  local ask, asked, m = {}, {}, 1
  while m <= size do
    local score, last = scores[T + i + m], m
    while last < size and scores[T + i + last + 1] == score do
      last = last + 1
    end
    local has, run = {}, last - m + 1
    if run >= 8 then
      for _, k in ipairs(call('ZRANGE', key, score, score, 'BYSCORE', 'LIMIT', 0, 2 * run)) do
        has[k] = true
      end
    end
    for j = m, last do
      local k = ARGV[K + i + j]
      if not has[k] then
        ask[#ask + 1], asked[#asked + 1] = k, i + j
      end
    end
    m = last + 1
  end
  local good = true
  for j, score in ipairs(read('ZMSCORE', key, ask, 1, #ask)) do
    if score ~= scores[T + asked[j]] then
      stale[asked[j]], anyStale, good = true, true, false
    end
  end
  return good
end

local i = 0
for g = 1, ngroups do
  local lane, size = tonumber(ARGV[groups + 2 * g - 1]), tonumber(ARGV[groups + 2 * g])
  local key = KEYS[LANES + 1 + lane]
  local good = held(key, i, size)
  if plain and good then
    -- What most calls are made of: nothing has to be picked out.
    write('ZREM', key, nil, ARGV, K + i + 1, K + i + size)
  else
    local gone, again = {}, {}
    local kind, name, code = tonumber(ARGV[lanes + 3 * lane + 1]), ARGV[lanes + 3 * lane + 2], ARGV[lanes + 3 * lane + 3]
    for m = i + 1, i + size do
      if not plain then
        apply(m, kind, name, code, gone, again)
      elseif not stale[m] then
        gone[#gone + 1] = ARGV[K + m]
      end
    end
    write('ZREM', key, nil, gone, 1, #gone)
    write('ZADD', key, nil, again, 1, #again)
  end
  i = i + size
end
for j, record in ipairs(read('HMGET', RECORDS, released, 1, #released)) do
  if record then
    records[#records + 1] = released[j]
    records[#records + 1] = pack('>I4', (fields('>I4', record) + RELEASED - 1) % 2 ^ 32) .. string.sub(record, 5)
  end
end
write('HSET', RECORDS, nil, records, 1, #records)
write('HDEL', RECORDS, nil, norecord, 1, #norecord)

local new, leases = '', {}
if ARGV[6] == '1' then
  new, leases = store(p, tonumber(ARGV[3]), stale)
end

if plain and not anyStale then
  release(ARGV, K + 1, K + n)
else
  if plain then
    for m = 1, n do
      if not stale[m] then
        drop[#drop + 1] = ARGV[K + m]
      end
    end
  end
  release(drop, 1, #drop)
end
if buried then
  trim(tonumber(ARGV[4]), tonumber(ARGV[5]))
end

local ok = ''
if anyStale then
  local flags = {}
  for m = 1, n do
    flags[m] = stale[m] and '0' or '1'
  end
  ok = table.concat(flags)
end
return {format('%d', now), ok, tokens, new, leases, finish(ARGV[1], ARGV[2])}
