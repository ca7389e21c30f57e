-- What all scripts of a queue share.
--
-- A queue's keys have one hash tag, so they live in one slot. The order of the
-- fixed ones is that of shard.fixed in shard.go; what else a call needs, such
-- as the lanes that it names, comes behind them.
--
--   META     hash    clock: the last time stamp given out; offset, noted: see
--                    below; turn, since: which of the two SEEN hashes is in
--                    use, and since when; wait1..3: somebody sleeps until
--                    then; told1..3: when a hint was last sent (see finish);
--                    dedupe, dead_age, dead_max: how long what is over is
--                    remembered
--   EVENTS   hash    event key -> 8 bytes (when it was pushed) .. the event
--   REFS     hash    event key -> number of jobs, where it is not 1
--   RECORDS  hash    job key .. lane code -> what is not plain about a job
--   DEAD     zset    dead letter -> when it was buried
--   BURIED   hash    dead letter -> its record
--   SEEN     hashes  job key -> the codes of the lanes that it was pushed to
--   READY    zsets   one a kind: lane -> when to look at it, or earlier
--   REST     zsets   one a kind: lane -> until when nobody claims from it
--   lane     zset    job key -> when it is due
--
-- Times are microseconds of the store's clock. Scores are twice that; the
-- lowest bit is set for jobs that are leased, whose score is the end of the
-- lease. So the score is proof of a claim: it is in the ticket, and whoever
-- settles a job has to know it.
--
-- A job key is 16 bytes that stand for an event's identity. It is the event
-- key too, unless another event of that identity but of other content is
-- stored.
--
-- The first two arguments of every script are
--
--   | 1 | the store's time that the caller expects now; empty: see below |
--   | 2 | how much later than that it may be for the call to be carried out |
--
-- and the first part of every answer is the store's time. An answer that has no
-- other part means that nothing was done, because it was too late or because
-- the clocks disagree.
local META, EVENTS, REFS, RECORDS, DEAD, BURIED = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local SEEN = {KEYS[7], KEYS[8]}
local READY = {KEYS[9], KEYS[10], KEYS[11]}
local REST = {KEYS[12], KEYS[13], KEYS[14]}
local FIXED = 14

-- Functions of a script that use much of what is defined here are inside of
-- another one, or of a block that is not always run: each costs time in
-- proportion to what it uses and to what was defined, even if it is not called.
local call, unpack, tonumber = redis.call, unpack, tonumber
local floor, min, max, format = math.floor, math.min, math.max, string.format
local pack, fields = struct.pack, struct.unpack

-- The store's clock is the server's plus an offset, which takes up the jumps of
-- the server's. That it has jumped shows in that it disagrees with what the
-- caller expects, or is behind what was noted when somebody called before; the
-- caller then finds out, see clock.go. A queue of format 1 has no offset, and
-- its callers expect nothing.
local JUMP, NOTE_EVERY = 10e6, 2e6
local time = call('TIME')
local now = time[1] * 1e6 + time[2]
local meta = call('HMGET', META, 'clock', 'turn', 'since', 'wait1', 'wait2', 'wait3', 'told1', 'told2', 'told3', 'offset', 'noted', 'dedupe', 'dead_age', 'dead_max')
local clock = tonumber(meta[1] or 0)
if ARGV[1] ~= '' then
  now = now + (meta[10] or 0)
  local late, noted = now - ARGV[1], tonumber(meta[11] or 0)
  if late > tonumber(ARGV[2]) or late < -JUMP or noted > now + JUMP then
    return {format('%d', now)}
  end
  if now - noted > NOTE_EVERY then
    call('HSET', META, 'noted', format('%d', now))
  end
end

-- Arguments are read from left to right: a script takes those at its beginning
-- at once and sets position behind them, and comes to the others one by one.
local position = 2
local function nextArgument()
  position = position + 1
  return ARGV[position]
end

-- leave leaves n arguments where they are, and returns the place before them.
local function leave(n)
  local before = position
  position = position + n
  return before
end

-- leaveList is leave for arguments whose number comes first, size for each. It
-- returns the number, too.
local function leaveList(size)
  local n = tonumber(ARGV[position + 1])
  local before = position + 1
  position = before + size * max(n, 0)
  return before, n
end

-- Of a record: claims, attempt, when pushed, length of the event key. The
-- event key (if it is not the job key) and the history follow. A claim that
-- ended with Release is not among the claims, but counted as RELEASED.
local RECORD = '>I4I4I8B'
local RECORD_HEADER = 17
local RELEASED = 2 ^ 24

-- Lua's stack bounds the arguments of one call.
local CHUNK = 4000

-- write calls cmd key [flag] with list[first..last], which are pairs or
-- single items.
local function write(cmd, key, flag, list, first, last)
  for i = first, last, CHUNK do
    if flag then
      call(cmd, key, flag, unpack(list, i, min(i + CHUNK - 1, last)))
    else
      call(cmd, key, unpack(list, i, min(i + CHUNK - 1, last)))
    end
  end
end

-- read is write for commands that answer with one item for each argument.
local function read(cmd, key, list, first, last)
  if last < first then
    return {}
  elseif last - first < CHUNK then
    return call(cmd, key, unpack(list, first, last))
  end
  local all, n = {}, 0
  for i = first, last, CHUNK do
    for _, item in ipairs(call(cmd, key, unpack(list, i, min(i + CHUNK - 1, last)))) do
      n = n + 1
      all[n] = item
    end
  end
  return all
end

-- leaseEnd is the score of a lease. Its lowest bits tell claims of one job
-- apart that would end in the same microsecond: turn counts them all.
local function leaseEnd(lease, turn)
  local last = now + lease
  return (last - last % 8 + 8 + turn % 8) * 2 + 1
end

-- touch notes that a lane is to be looked at when score comes.
local touched = {{}, {}, {}}
local function touch(kind, lane, score)
  local list = touched[kind]
  list[#list + 1] = score
  list[#list + 1] = lane
end

-- due notes that a job waits until score. Somebody who sleeps for longer is
-- to be told.
local earliest = {math.huge, math.huge, math.huge}
local function due(kind, lane, score)
  touch(kind, lane, score)
  if score < earliest[kind] then
    earliest[kind] = score
  end
end

-- finish writes down what touch and due noted, and sends hints. Who finds
-- nothing to claim leaves a note in META until when it sleeps, so that a busy
-- system, where nobody sleeps, sends hardly any. For those that watch without
-- claiming there is one now and then. It returns the kinds that were told of.
local TELL_AGAIN = 100000
local function finish(channel, sender)
  local kinds = ''
  for kind = 1, 3 do
    local list = touched[kind]
    if #list > 0 then
      write('ZADD', READY[kind], 'LT', list, 1, #list)
    end
    local first = earliest[kind]
    if first < math.huge then
      local wait, told = meta[3 + kind], tonumber(meta[6 + kind] or 0)
      if wait and first < tonumber(wait) then
        call('HDEL', META, 'wait' .. kind)
        wait = true
      else
        wait = false
      end
      if wait or (first <= 2 * max(now, clock) + 1 and (now - told > TELL_AGAIN or now < told)) then
        kinds = kinds .. kind
        call('HSET', META, 'told' .. kind, now)
      end
    end
  end
  if kinds ~= '' then
    call('PUBLISH', channel, sender .. ' ' .. kinds)
  end
  if clock > tonumber(meta[1] or 0) then
    call('HSET', META, 'clock', clock)
  end
  return kinds
end

-- unrefer gives up one reference for each of list[first..last], event keys.
local function unrefer(list, first, last)
  if last < first then
    return
  end
  local counts = call('EXISTS', REFS) == 1 and read('HMGET', REFS, list, first, last)
  local rest = nil
  for i = 1, counts and last - first + 1 or 0 do
    if counts[i] then
      rest = rest or {}
      local key = list[first + i - 1]
      rest[key] = (rest[key] or tonumber(counts[i])) - 1
    end
  end
  local gone = list
  if rest then
    local single, more = {}, {}
    gone = {}
    for i = first, last do
      if not rest[list[i]] then
        gone[#gone + 1] = list[i]
      end
    end
    first = 1
    for key, count in pairs(rest) do
      if count > 1 then
        more[#more + 1] = key
        more[#more + 1] = count
      else
        single[#single + 1] = key
        if count < 1 then
          gone[#gone + 1] = key
        end
      end
    end
    last = #gone
    write('HSET', REFS, nil, more, 1, #more)
    write('HDEL', REFS, nil, single, 1, #single)
  end
  write('HDEL', EVENTS, nil, gone, first, last)
end

-- rotate sees to it that what was pushed is remembered for one to two windows,
-- and returns the hash in use and the one before. The window is the store's, or
-- the default that is given.
local function rotate(default)
  local window = tonumber(meta[12] or default)
  local turn, since = tonumber(meta[2] or 1), tonumber(meta[3] or 0)
  local over = floor((now - since) / window)
  if over >= 1 then
    if over == 1 then
      turn = 3 - turn
      since = since + window
      call('UNLINK', SEEN[turn])
    else
      since = now
      call('UNLINK', SEEN[1], SEEN[2])
    end
    call('HSET', META, 'turn', turn, 'since', since)
  end
  return SEEN[turn], SEEN[3 - turn]
end

-- trim removes dead letters beyond those that are kept. The limits are the
-- store's, or the defaults that are given; if most is UNLIMITED it stays so.
local UNLIMITED = 1e300
local function trim(most, age)
  age = tonumber(meta[13] or age)
  if most < UNLIMITED then
    most = tonumber(meta[14] or most)
  end
  local old = call('ZRANGE', DEAD, '-inf', '(' .. format('%d', now - age), 'BYSCORE', 'LIMIT', 0, 200)
  local over = call('ZCARD', DEAD) - #old - most
  if over > 0 then
    for _, id in ipairs(call('ZRANGE', DEAD, #old, #old + min(over, 200) - 1)) do
      old[#old + 1] = id
    end
  end
  if #old == 0 then
    return
  end
  local keys = {}
  for _, record in ipairs(call('HMGET', BURIED, unpack(old))) do
    if record then
      keys[#keys + 1] = string.sub(record, 2, 1 + string.byte(record))
    end
  end
  call('ZREM', DEAD, unpack(old))
  call('HDEL', BURIED, unpack(old))
  unrefer(keys, 1, #keys)
end
