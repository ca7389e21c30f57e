-- Storing jobs, for Push and for the follow-up jobs of Settle.
--
-- The arguments from p on are, each list in one piece so that it can be
-- handed on to a command as it is:
--   the time that the contents below say, as the caller reckons it
--   the number of lanes, then kind, name and code of each
--   the number of classes, then delay and lease of each
--   the number of runs, then lane (from 0), class (from 0) and size of each;
--   or -1-x if there is one event, with a job of class 0 in each lane from x on
--   the number of jobs, then their job keys, ordered by run; -1 as above, or if
--   there is one run and each event has one job, in the order of the events
--   the number of events, then their job keys with their contents
--   the number of events with several jobs, then their keys with that number,
--   then their keys with the codes of all lanes that they have jobs for
--   if they follow outcomes (stale tells which have failed): their numbers, then
--   the event keys of those that are stored already, whose content is empty
--
-- No job key comes twice among the events, and no lane twice for an event.

-- lookup tells which lanes' codes are in two lists of codes; nil if there is
-- no list.
local function lookup(a, b)
  local codes = a and b and a .. b or a or b
  if not codes then
    return nil
  end
  local set = {}
  for i = 1, #codes, 8 do
    set[string.sub(codes, i, i + 7)] = true
  end
  return set
end

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

-- store returns which jobs are new, as a string of 0 (not), 1 and 2 (and its
-- event is not under the job key), empty if all are 1; and the score of each
-- class's lease.
local function store(p, window, stale)
  local off = now - tonumber(ARGV[p])
  p = p + 1
  local lanes, nlanes = p, tonumber(ARGV[p])
  p = p + 3 * nlanes + 1
  local nclasses = tonumber(ARGV[p])
  local delays, leases, tokens = {}, {}, {}
  for i = 1, nclasses do
    delays[i], leases[i], tokens[i] = tonumber(ARGV[p + 1]), false, ''
    local lease = tonumber(ARGV[p + 2])
    if lease > 0 then
      leases[i] = leaseEnd(lease, 1)
      tokens[i] = format('%d', leases[i])
    end
    p = p + 2
  end
  p = p + 1
  local runs, nruns = p, tonumber(ARGV[p])
  p = p + 3 * max(nruns, 0) + 1
  local jobs, J, njobs = ARGV, p, tonumber(ARGV[p])
  p = p + max(njobs, 0) + 1
  local n = tonumber(ARGV[p])
  local contents = p
  p = p + 2 * n + 1
  local refs, nrefs = p, tonumber(ARGV[p])
  local codes = refs + 2 * nrefs
  local owners = codes + 2 * nrefs
  local stored = owners + n
  local events = {} -- their job keys
  for e = 1, n do
    events[e] = ARGV[contents + 2 * e - 1]
  end
  if off > OFF or off < -OFF then
    restamp(contents, n)
  end
  local broad, offset = nruns < 0, -1 - nruns
  if broad then
    nruns, njobs = nlanes - offset, nlanes - offset
  elseif njobs < 0 then
    jobs, J, njobs = events, 0, n
  end

  local recent, before = rotate(window)
  local seen1 = read('HMGET', recent, events, 1, n)
  local seen2 = read('HMGET', before, events, 1, n)
  local there = stale and {} or read('HMGET', EVENTS, events, 1, n)
  local plain = not stale -- nothing is known of any of these events
  for e = 1, n do
    if seen1[e] or seen2[e] or there[e] then
      plain = false
      break
    end
  end

  -- Which events are stored already. One of the same ID but other content
  -- gets a key of its own.
  local index, keys, stand, known = {}, {}, {}, {}
  local skip = nil -- the jobs that are not new
  if not plain then
    skip = {}
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
      known[e] = lookup(seen1[e], seen2[e])
    end
  end

  -- A job may be in its lane although nothing is known of its event only if
  -- that has another key, which is in the job's record.
  local unknown = plain and call('EXISTS', RECORDS) == 0

  -- Each waiting job has a time stamp of its own, so that those of a lane keep
  -- their order. Stamps lie in the past where there is room.
  local base, last = max(clock, now - njobs), clock
  local records, told = {}, {}
  local several = nil
  if nrefs > 0 then
    several = {}
    for i = codes + 1, codes + 2 * nrefs, 2 do
      several[ARGV[i]] = true
      told[i - codes], told[i - codes + 1] = ARGV[i], ARGV[i + 1]
    end
  end
  local ntold = 2 * nrefs
  local q = 0
  for r = 1, nruns do
    local lane, class, size, list, j = offset + r - 1, 1, 1, events, 0
    if not broad then
      lane, class, size = tonumber(ARGV[runs + 3 * r - 2]), tonumber(ARGV[runs + 3 * r - 1]) + 1, tonumber(ARGV[runs + 3 * r])
      list, j = jobs, J + q
    end
    local key, code = KEYS[LANES + 1 + lane], ARGV[lanes + 3 * lane + 3]
    local live
    if unknown then
      live = {}
    elseif size > 1 then
      live = read('ZMSCORE', key, list, j + 1, j + size)
    end
    local token, delay = leases[class] and tokens[class], delays[class]
    local args, m, first = {}, 0, nil
    for i = 1, size do
      q = q + 1
      local k, old = list[j + i], live and live[i]
      local e = index[k]
      if e and not old then
        old = known[e] and known[e][code] or stale and stale[tonumber(ARGV[owners + e])]
      end
      local score = token
      if not old then
        score = token or format('%d', (base + q + delay) * 2)
        if live then
          args[m + 1], args[m + 2] = score, k
          m = m + 2
        else
          old = call('ZADD', key, 'NX', score, k) == 0
        end
      end
      if not (several and several[k]) then
        told[ntold + 1], told[ntold + 2] = k, code
        ntold = ntold + 2
      end
      if old then
        skip = skip or {}
        skip[q] = true
      else
        first = first or score
        if not token then
          last = base + q
        end
        local event = e and keys[e] ~= k and keys[e] or ''
        if event ~= '' or (delay > 0 and not token) then
          records[#records + 1] = k .. code
          records[#records + 1] = pack(RECORD, token and 1 or 0, 0, token and now or base + q, #event) .. event
        end
      end
    end
    write('ZADD', key, nil, args, 1, m)
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

  if not skip then
    write('HSET', EVENTS, nil, ARGV, contents + 1, contents + 2 * n)
    write('HSET', REFS, nil, ARGV, refs + 1, refs + 2 * nrefs)
    write('HSET', recent, nil, told, 1, ntold)
    return '', tokens
  end

  -- The same where only some jobs are new.
  if plain then
    for e = 1, n do
      index[events[e]] = e
      keys[e] = events[e]
    end
  end
  local new, fresh = {}, {}
  told = {}
  q = 0
  for r = 1, nruns do
    local lane = broad and offset + r - 1 or tonumber(ARGV[runs + 3 * r - 2])
    local code = ARGV[lanes + 3 * lane + 3]
    for _ = 1, broad and 1 or tonumber(ARGV[runs + 3 * r]) do
      q = q + 1
      if skip[q] then
        new[q] = '0'
      else
        local k = broad and events[1] or jobs[J + q]
        local e = index[k]
        new[q] = keys[e] == k and '1' or '2'
        fresh[e] = (fresh[e] or 0) + 1
        local t = told[e]
        if t then
          t[#t + 1] = code
        else
          told[e] = {code}
        end
      end
    end
  end
  local fill, counts, seen = {}, {}, {}
  for e = 1, n do
    local f = fresh[e]
    if f then
      local key = keys[e]
      if not stand[e] then
        fill[#fill + 1] = key
        fill[#fill + 1] = ARGV[contents + 2 * e]
      else
        f = tonumber(call('HGET', REFS, key) or 1) + f
      end
      if f > 1 then
        counts[#counts + 1] = key
        counts[#counts + 1] = f
      end
      local list = table.concat(told[e])
      seen[#seen + 1] = events[e]
      seen[#seen + 1] = seen1[e] and seen1[e] .. list or list
    end
  end
  write('HSET', EVENTS, nil, fill, 1, #fill)
  write('HSET', REFS, nil, counts, 1, #counts)
  write('HSET', recent, nil, seen, 1, #seen)
  return table.concat(new), tokens
end
