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

-- readFormer finds out what a store that was of format 1 knows of events: old
-- processes push to the queue of that format, and what was pushed there is no
-- new job here. before is the place before the keys of the n events there. It
-- returns what is known of each event, nil if nothing is of any:
--
--   key    its key there
--   codes  the codes of the lanes that it was pushed to, of two hashes
--   waits  whether it is still stored there
local function readFormer(prefix, before, n)
  local asked = {}
  for e = 1, n do
    if ARGV[before + e] ~= '' then
      asked[#asked + 1] = ARGV[before + e]
    end
  end
  local lists = {prefix .. 'seen:1', prefix .. 'seen:2', prefix .. 'events'}
  if #asked == 0 or redis.call('EXISTS', unpack(lists)) == 0 then
    return nil
  end
  local seen1 = read('HMGET', lists[1], asked, 1, #asked)
  local seen2 = read('HMGET', lists[2], asked, 1, #asked)
  local stored = read('HMGET', lists[3], asked, 1, #asked)
  local former, i = nil, 0
  for e = 1, n do
    if ARGV[before + e] ~= '' then
      i = i + 1
      if seen1[i] or seen2[i] or stored[i] then
        former = former or {prefix = prefix}
        former[e] = {key = asked[i], codes = {seen1[i] or nil, seen2[i] or nil}, waits = stored[i]}
      end
    end
  end
  return former
end

-- lookup tells which lanes' codes are in some of four lists of codes; nil if
-- there is no list.
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

-- store returns which jobs are new, as a string of 0 (not), 1 and 2 (and its
-- event is not under the job key), empty if all are 1; the score of each
-- class's lease; and the time stamp before the first job's. Each job has one of
-- its own, in the order in which they are given, so that those of a lane keep
-- their order: it is when a job that waits became due, and where one that is
-- leased would stand. Storing takes longer than a microsecond a job, so that
-- what is stored later has later ones.
local function store(window, stale)
  -- The arguments. The name of a list is that of the place before it.
  local off = now - nextArgument()
  local lanes, nlanes = leaveList(3)
  local classes, nclasses = leaveList(2)
  local runs, nruns = leaveList(3)
  local jobs, before, njobs = ARGV, leaveList(1)
  local contents, n = leaveList(2)
  local refs, nrefs = leaveList(4)
  local codes = refs + 2 * nrefs
  local owners = stale and leave(n)
  local stored = stale and leave(n)
  local prefix = nextArgument()
  local former = prefix ~= '' and readFormer(prefix, leave(n), n)
  local delays, leases, tokens = {}, {}, {}
  for class = 1, nclasses do
    local lease = tonumber(ARGV[classes + 2 * class])
    delays[class], leases[class], tokens[class] = tonumber(ARGV[classes + 2 * class - 1]), false, ''
    if lease > 0 then
      leases[class] = leaseEnd(lease, 1)
      tokens[class] = format('%d', leases[class])
    end
  end
  local events = {} -- their job keys
  for e = 1, n do
    events[e] = ARGV[contents + 2 * e - 1]
  end
  if off > OFF or off < -OFF then
    local stamp = pack('>I8', now)
    for i = contents + 2, contents + 2 * n, 2 do
      if ARGV[i] ~= '' then
        ARGV[i] = stamp .. string.sub(ARGV[i], 9)
      end
    end
  end
  local broad, offset = nruns < 0, -1 - nruns
  if broad then
    nruns, njobs = nlanes - offset, nlanes - offset
  elseif njobs < 0 then
    jobs, before, njobs = events, 0, n
  end

  -- What is known of the events.
  local recent, earlier = rotate(window)
  local seen1 = read('HMGET', recent, events, 1, n)
  local seen2 = read('HMGET', earlier, events, 1, n)
  local there = stale and {} or read('HMGET', EVENTS, events, 1, n)
  local plain = not stale and not former -- nothing
  for e = 1, n do
    if seen1[e] or seen2[e] or there[e] then
      plain = false
      break
    end
  end
  -- Which events are stored already, and under which keys. One of the same
  -- identity but of other content gets a key of its own.
  local index, keys, stand, known = {}, {}, {}, {}
  local skipped = nil -- the jobs that are not new
  if not plain then
    skipped = {}
    for e = 1, n do
      local key, content = events[e], ARGV[contents + 2 * e]
      index[key] = e
      if stale then
        if content == '' then
          key, stand[e] = ARGV[stored + e], true
        else
          there[e] = call('HGET', EVENTS, key)
        end
      end
      if there[e] then
        stand[e] = string.sub(there[e], 9) == string.sub(content, 9)
        if not stand[e] then
          key = key .. string.sub(redis.sha1hex(string.sub(content, 9)), 1, 16)
          stand[e] = call('HEXISTS', EVENTS, key) == 1
        end
      end
      keys[e] = key
      local there1 = former and former[e] and former[e].codes or {}
      known[e] = lookup(seen1[e], seen2[e], there1[1], there1[2])
    end
  end
  -- A job may be in its lane although nothing is known of its event only if
  -- that has another key, which is in the job's record.
  local unknown = plain and call('EXISTS', RECORDS) == 0

  -- The jobs are put into their lanes.
  local base = max(clock, now)
  local last = clock
  local records, told = {}, {}
  local several = nil
  local ntold = 2 * nrefs
  if ntold > 0 then
    several = {}
    for i = codes + 1, codes + ntold, 2 do
      several[ARGV[i]] = true
      told[i - codes], told[i - codes + 1] = ARGV[i], ARGV[i + 1]
    end
  end
  local q = 0
  for r = 1, nruns do
    local lane, class, size, list, j = offset + r - 1, 1, 1, events, 0
    if not broad then
      lane, class, size = tonumber(ARGV[runs + 3 * r - 2]), tonumber(ARGV[runs + 3 * r - 1]) + 1, tonumber(ARGV[runs + 3 * r])
      list, j = jobs, before + q
    end
    local laneKey, code = KEYS[FIXED + 1 + lane], ARGV[lanes + 3 * lane + 3]
    local live
    if unknown then
      live = {}
    elseif size > 1 then
      live = read('ZMSCORE', laneKey, list, j + 1, j + size)
    end
    local token, delay = leases[class] and tokens[class], delays[class]
    local args, m, first = {}, 0, nil
    for i = 1, size do
      q = q + 1
      local key, old = list[j + i], live and live[i]
      local e = index[key]
      if e and not old then
        old = known[e] and known[e][code] or stale and stale[tonumber(ARGV[owners + e])]
        if former and former[e] and former[e].waits and not old then
          local kinds = {'fanout', 'deliver', 'handle'}
          local laneThere = prefix .. 'lane:' .. kinds[tonumber(ARGV[lanes + 3 * lane + 1])] .. ':' .. ARGV[lanes + 3 * lane + 2]
          old = call('ZSCORE', laneThere, former[e].key)
        end
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
      local kind, name = tonumber(ARGV[lanes + 3 * lane + 1]), ARGV[lanes + 3 * lane + 2]
      if token then
        touch(kind, name, token)
      else
        due(kind, name, tonumber(first))
      end
    end
  end
  clock = last
  write('HSET', RECORDS, nil, records, 1, #records)

  -- The events, where all jobs are new.
  if not skipped then
    write('HSET', EVENTS, nil, ARGV, contents + 1, contents + 2 * n)
    write('HSET', REFS, nil, ARGV, refs + 1, refs + 2 * nrefs)
    write('HSET', recent, nil, told, 1, ntold)
    return '', tokens, base
  end

  -- countNew returns which jobs are new, and of each event that has some how
  -- many they are and the codes of their lanes.
  local function countNew()
    local new, fresh, codesOf = {}, {}, {}
    local p = 0
    for r = 1, nruns do
      local lane = broad and offset + r - 1 or tonumber(ARGV[runs + 3 * r - 2])
      local code = ARGV[lanes + 3 * lane + 3]
      for _ = 1, broad and 1 or tonumber(ARGV[runs + 3 * r]) do
        p = p + 1
        if skipped[p] then
          new[p] = '0'
        else
          local key = broad and events[1] or jobs[before + p]
          local e = index[key]
          new[p] = keys[e] == key and '1' or '2'
          fresh[e] = (fresh[e] or 0) + 1
          codesOf[e] = codesOf[e] or {}
          table.insert(codesOf[e], code)
        end
      end
    end
    return new, fresh, codesOf
  end

  -- tellFormer lets the queue of format 1 know of new jobs of an event of its
  -- own, so that a fan-out that began there and is run again doubles nothing.
  local function tellFormer(event, list)
    local which = event.codes[1] and 1 or event.codes[2] and 2 or call('HGET', prefix .. 'meta', 'turn') or 1
    call('HSET', prefix .. 'seen:' .. which, event.key, (event.codes[which] or '') .. list)
  end

  -- The events, where only some jobs are new.
  if plain then
    keys = events
    for e = 1, n do
      index[events[e]] = e
    end
  end
  local new, fresh, codesOf = countNew()
  local fill, counts, seen = {}, {}, {}
  for e = 1, n do
    local count = fresh[e]
    if count then
      local key = keys[e]
      if not stand[e] then
        fill[#fill + 1] = key
        fill[#fill + 1] = ARGV[contents + 2 * e]
      else
        count = tonumber(call('HGET', REFS, key) or 1) + count
      end
      if count > 1 then
        counts[#counts + 1] = key
        counts[#counts + 1] = count
      end
      local list = table.concat(codesOf[e])
      seen[#seen + 1] = events[e]
      seen[#seen + 1] = seen1[e] and seen1[e] .. list or list
      if former and former[e] then
        tellFormer(former[e], list)
      end
    end
  end
  write('HSET', EVENTS, nil, fill, 1, #fill)
  write('HSET', REFS, nil, counts, 1, #counts)
  write('HSET', recent, nil, seen, 1, #seen)
  return table.concat(new), tokens, base
end
