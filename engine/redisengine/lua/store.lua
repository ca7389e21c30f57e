-- Storing jobs, for Push and for the follow-up jobs of Settle.
--
-- It reads these arguments from where the script has come to, each list in one
-- piece so that it can be handed on to a command as it is:
--
--   | the time that the contents below say, as the caller reckons it         |
--   | the number of lanes, then kind, name and code of each                  |
--   | the number of classes, then delay and lease of each                    |
--   | the number of runs, then lane (from 0), class (from 0) and size of     |
--   |   each; or -1-x if there is one event, with a job of class 0 in each   |
--   |   lane from x on                                                       |
--   | the number of jobs, then their job keys, ordered by run; -1 as above,  |
--   |   or if there is one run and each event has one job, in the order of   |
--   |   the events                                                           |
--   | the number of events, then their job keys with their contents          |
--   | the number of events with several jobs, then their keys with that      |
--   |   number, then their keys with the codes of all lanes that they have   |
--   |   jobs for                                                             |
--   | if they follow outcomes (stale tells which have failed): their         |
--   |   numbers, then the event keys of those that are stored already, whose |
--   |   content is empty                                                     |
--   | what the keys of the queue of format 1 start with; empty if there is   |
--   |   none. Otherwise the keys that the events have there, empty for none  |
--
-- No job key comes twice among the events, and no lane twice for an event.

-- OFF is by how much a caller may be mistaken about the time. It reckons from
-- answers, and those may have been long on their way.
local OFF = 3000

-- restamp writes down the right time in n contents.
local function restamp(contents, n)
  local stamp = pack('>I8', now)
  for i = contents + 2, contents + 2 * n, 2 do
    if ARGV[i] ~= '' then
      ARGV[i] = stamp .. string.sub(ARGV[i], 9)
    end
  end
end

-- lookup tells which lanes' codes are in lists of codes; nil if there is none.
local function lookup(...)
  local set = nil
  for i = 1, 4 do
    local codes = select(i, ...)
    if codes then
      set = set or {}
      for j = 1, #codes, 8 do
        set[string.sub(codes, j, j + 7)] = true
      end
    end
  end
  return set
end

-- What a store that was of format 1 knows of the events: old processes push to
-- the queue of that format, and what was pushed there is no new job here.
local FORMER_KIND = {'fanout', 'deliver', 'handle'}
local former = nil

-- remember reads it. For keys see the last of the arguments.
local function remember(prefix, keys, first, n)
  local asked, asks = {}, 0
  for e = 1, n do
    if keys[first + e] ~= '' then
      asks = asks + 1
      asked[asks] = keys[first + e]
    end
  end
  local lists = {prefix .. 'seen:1', prefix .. 'seen:2', prefix .. 'events'}
  if asks == 0 or call('EXISTS', unpack(lists)) == 0 then
    return
  end
  local found = {}
  for i, list in ipairs(lists) do
    found[i] = read('HMGET', list, asked, 1, asks)
  end
  local at = 0
  for e = 1, n do
    if keys[first + e] ~= '' then
      at = at + 1
      if found[1][at] or found[2][at] or found[3][at] then
        former = former or {prefix = prefix}
        former[e] = {key = asked[at], codes = {found[1][at], found[2][at]}, waits = found[3][at]}
      end
    end
  end
end

-- formerly tells whether a job was pushed there: in the dedupe window, or
-- before it and it still waits.
local function formerly(e, kind, lane)
  local known = former[e]
  return known and known.waits and
    call('ZSCORE', former.prefix .. 'lane:' .. FORMER_KIND[kind] .. ':' .. lane, known.key)
end

-- rememberThere lets the queue of format 1 know of jobs of an event of its own,
-- so that a fan-out that began there and is run again doubles nothing.
local function rememberThere(e, list)
  local known = former[e]
  if known then
    local which = known.codes[1] and 1 or known.codes[2] and 2 or tonumber(call('HGET', former.prefix .. 'meta', 'turn') or 1)
    call('HSET', former.prefix .. 'seen:' .. which, known.key, (known.codes[which] or '') .. list)
  end
end

-- readStore reads the arguments.
local function readStore(follows)
  local a = {stamp = nextNumber()}
  a.nlanes = nextNumber()
  a.lanes = leave(3 * a.nlanes)
  -- Of each class the delay, the score of its lease if it has one, and that as
  -- an answer.
  a.delays, a.leases, a.tokens = {}, {}, {}
  for class = 1, nextNumber() do
    a.delays[class], a.leases[class], a.tokens[class] = nextNumber(), false, ''
    local lease = nextNumber()
    if lease > 0 then
      a.leases[class] = leaseEnd(lease, 1)
      a.tokens[class] = format('%d', a.leases[class])
    end
  end
  a.nruns = nextNumber()
  a.runs = leave(3 * max(a.nruns, 0))
  a.njobs = nextNumber()
  a.jobs, a.before = ARGV, leave(max(a.njobs, 0))
  a.n = nextNumber()
  a.contents = leave(2 * a.n)
  a.nrefs = nextNumber()
  a.refs = leave(2 * a.nrefs)
  a.codes = leave(2 * a.nrefs)
  if follows then
    a.owners = leave(a.n)
    a.stored = leave(a.n)
  end
  a.events = {} -- their job keys
  for e = 1, a.n do
    a.events[e] = ARGV[a.contents + 2 * e - 1]
  end
  local off = now - a.stamp
  if off > OFF or off < -OFF then
    restamp(a.contents, a.n)
  end
  a.broad, a.offset = a.nruns < 0, -1 - a.nruns
  if a.broad then
    a.nruns, a.njobs = a.nlanes - a.offset, a.nlanes - a.offset
  elseif a.njobs < 0 then
    a.jobs, a.before, a.njobs = a.events, 0, a.n
  end
  local prefix = nextArgument()
  if prefix ~= '' then
    remember(prefix, ARGV, leave(a.n), a.n)
  end
  return a
end

-- identify finds out which events are stored already, and under which keys. One
-- of the same identity but of other content gets a key of its own.
local function identify(a, follows, seen1, seen2, there)
  local found = {index = {}, keys = {}, stand = {}, known = {}}
  for e = 1, a.n do
    local key, content = a.events[e], ARGV[a.contents + 2 * e]
    found.index[key] = e
    if follows then
      if content == '' then
        key, found.stand[e] = ARGV[a.stored + e], true
      else
        there[e] = call('HGET', EVENTS, key)
      end
    end
    if there[e] then
      found.stand[e] = string.sub(there[e], 9) == string.sub(content, 9)
      if not found.stand[e] then
        key = key .. string.sub(redis.sha1hex(string.sub(content, 9)), 1, 16)
        found.stand[e] = call('HEXISTS', EVENTS, key) == 1
      end
    end
    found.keys[e] = key
    local codes = former and former[e] and former[e].codes or {}
    found.known[e] = lookup(seen1[e] or nil, seen2[e] or nil, codes[1] or nil, codes[2] or nil)
  end
  return found
end

-- storeSome stores the events of jobs of which only some are new, and returns
-- which those are.
local function storeSome(a, found, skipped, recent, seen1)
  local new, fresh, told = {}, {}, {}
  local q = 0
  for r = 1, a.nruns do
    local lane = a.broad and a.offset + r - 1 or tonumber(ARGV[a.runs + 3 * r - 2])
    local code = ARGV[a.lanes + 3 * lane + 3]
    for _ = 1, a.broad and 1 or tonumber(ARGV[a.runs + 3 * r]) do
      q = q + 1
      if skipped[q] then
        new[q] = '0'
      else
        local key = a.broad and a.events[1] or a.jobs[a.before + q]
        local e = found.index[key]
        new[q] = found.keys[e] == key and '1' or '2'
        fresh[e] = (fresh[e] or 0) + 1
        local codes = told[e]
        if codes then
          codes[#codes + 1] = code
        else
          told[e] = {code}
        end
      end
    end
  end
  local fill, counts, seen = {}, {}, {}
  for e = 1, a.n do
    local count = fresh[e]
    if count then
      local key = found.keys[e]
      if not found.stand[e] then
        fill[#fill + 1] = key
        fill[#fill + 1] = ARGV[a.contents + 2 * e]
      else
        count = tonumber(call('HGET', REFS, key) or 1) + count
      end
      if count > 1 then
        counts[#counts + 1] = key
        counts[#counts + 1] = count
      end
      local list = table.concat(told[e])
      seen[#seen + 1] = a.events[e]
      seen[#seen + 1] = seen1[e] and seen1[e] .. list or list
      if former then
        rememberThere(e, list)
      end
    end
  end
  write('HSET', EVENTS, nil, fill, 1, #fill)
  write('HSET', REFS, nil, counts, 1, #counts)
  write('HSET', recent, nil, seen, 1, #seen)
  return table.concat(new)
end

-- store returns which jobs are new, as a string of 0 (not), 1 and 2 (and its
-- event is not under the job key), empty if all are 1; the score of each
-- class's lease; and the time stamp before the first job's. Each job has one of
-- its own, in the order in which they are given, so that those of a lane keep
-- their order: it is when a job that waits became due, and where one that is
-- leased would stand. Storing takes longer than a microsecond a job, so that
-- what is stored later has later ones.
local function store(window, stale)
  local a = readStore(stale ~= nil)
  local n, events = a.n, a.events
  local recent, before = rotate(window)
  local seen1 = read('HMGET', recent, events, 1, n)
  local seen2 = read('HMGET', before, events, 1, n)
  local there = stale and {} or read('HMGET', EVENTS, events, 1, n)
  local plain = not stale and not former -- nothing is known of any of these events
  for e = 1, n do
    if seen1[e] or seen2[e] or there[e] then
      plain = false
      break
    end
  end
  local found, skipped = nil, nil -- skipped are the jobs that are not new
  local index, keys, known = {}, {}, {}
  if not plain then
    found, skipped = identify(a, stale ~= nil, seen1, seen2, there), {}
    index, keys, known = found.index, found.keys, found.known
  end

  -- A job may be in its lane although nothing is known of its event only if
  -- that has another key, which is in the job's record.
  local unknown = plain and call('EXISTS', RECORDS) == 0

  local base = max(clock, now)
  local last = clock
  local records, told = {}, {}
  local several = nil
  local ntold = 2 * a.nrefs
  if ntold > 0 then
    several = {}
    for i = a.codes + 1, a.codes + ntold, 2 do
      several[ARGV[i]] = true
      told[i - a.codes], told[i - a.codes + 1] = ARGV[i], ARGV[i + 1]
    end
  end
  local q = 0
  for r = 1, a.nruns do
    local lane, class, size, list, j = a.offset + r - 1, 1, 1, events, 0
    if not a.broad then
      lane, class, size = tonumber(ARGV[a.runs + 3 * r - 2]), tonumber(ARGV[a.runs + 3 * r - 1]) + 1, tonumber(ARGV[a.runs + 3 * r])
      list, j = a.jobs, a.before + q
    end
    local laneKey, code = KEYS[FIXED + 1 + lane], ARGV[a.lanes + 3 * lane + 3]
    local kind, name = tonumber(ARGV[a.lanes + 3 * lane + 1]), ARGV[a.lanes + 3 * lane + 2]
    local live
    if unknown then
      live = {}
    elseif size > 1 then
      live = read('ZMSCORE', laneKey, list, j + 1, j + size)
    end
    local token, delay = a.leases[class] and a.tokens[class], a.delays[class]
    local args, m, first = {}, 0, nil
    for i = 1, size do
      q = q + 1
      local key, old = list[j + i], live and live[i]
      local e = index[key]
      if e and not old then
        old = known[e] and known[e][code] or stale and stale[tonumber(ARGV[a.owners + e])] or former and formerly(e, kind, name)
      end
      local score = token
      if not old then
        score = token or format('%d', (base + q + delay) * 2)
        if live then
          args[m + 1], args[m + 2] = score, key
          m = m + 2
        else
          old = call('ZADD', laneKey, 'NX', score, key) == 0
        end
      end
      if not (several and several[key]) then
        told[ntold + 1], told[ntold + 2] = key, code
        ntold = ntold + 2
      end
      if old then
        skipped = skipped or {}
        skipped[q] = true
      else
        first = first or score
        if not token then
          last = base + q
        end
        local event = e and keys[e] ~= key and keys[e] or ''
        if event ~= '' or (delay > 0 and not token) then
          records[#records + 1] = key .. code
          records[#records + 1] = pack(RECORD, token and 1 or 0, 0, token and now or base + q, #event) .. event
        end
      end
    end
    write('ZADD', laneKey, nil, args, 1, m)
    if first then
      if token then
        touch(kind, name, token)
      else
        due(kind, name, tonumber(first))
      end
    end
  end
  clock = last
  write('HSET', RECORDS, nil, records, 1, #records)

  local new = ''
  if not skipped then
    write('HSET', EVENTS, nil, ARGV, a.contents + 1, a.contents + 2 * n)
    write('HSET', REFS, nil, ARGV, a.refs + 1, a.refs + 2 * a.nrefs)
    write('HSET', recent, nil, told, 1, ntold)
  else
    if plain then
      found = {index = {}, keys = events, stand = {}}
      for e = 1, n do
        found.index[events[e]] = e
      end
    end
    new = storeSome(a, found, skipped, recent, seen1)
  end
  return new, a.tokens, base
end
