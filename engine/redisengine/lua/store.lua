-- Storing jobs, for Push and for the follow-up jobs of Settle.
--
-- The arguments from p on are, each list in one piece so that it can be
-- handed on as it is:
--   the number of lanes, then kind, name and code of each
--   the number of classes, then delay and lease of each
--   the number of events, then their job keys, then their contents
--   if they follow an outcome (alive is given): the outcomes' numbers, then
--   the event keys of those that are stored already, whose content is empty
--   how many jobs each event has, then the jobs as lane + class * lanes
--
-- No job key comes twice in a call, and no lane twice for an event.

-- has tells whether a lane's code is in a list of codes.
local function has(codes, code)
  local at = string.find(codes, code, 1, true)
  while at and at % 8 ~= 1 do
    at = string.find(codes, code, at + 1, true)
  end
  return at ~= nil
end

-- lookup is has for many lanes: nil if nothing is known of the event.
local function lookup(a, b)
  local codes = a and b and a .. b or a or b
  if not codes then
    return nil
  end
  if #codes <= 256 then
    return function(code) return has(codes, code) end
  end
  local set = {}
  for i = 1, #codes, 8 do
    set[string.sub(codes, i, i + 7)] = true
  end
  return function(code) return set[code] end
end

-- store returns which jobs are new, as a string of 0 (not), 1 and 2 (and its
-- event is not under the job key), and the score of each class's lease.
local function store(p, window, alive)
  local nlanes = tonumber(ARGV[p])
  local kinds, names, codes = {}, {}, {}
  for i = 1, nlanes do
    kinds[i], names[i], codes[i] = tonumber(ARGV[p + 1]), ARGV[p + 2], ARGV[p + 3]
    p = p + 3
  end
  p = p + 1
  local nclasses = tonumber(ARGV[p])
  local delays, leases, tokens = {}, {}, {}
  for i = 1, nclasses do
    delays[i], leases[i] = tonumber(ARGV[p + 1]), false
    local lease = tonumber(ARGV[p + 2])
    tokens[i] = ''
    if lease > 0 then
      leases[i] = leaseEnd(lease, 1)
      tokens[i] = format('%.0f', leases[i])
    end
    p = p + 2
  end
  p = p + 1
  local n = tonumber(ARGV[p])
  local K = p
  local contents = K + n
  local owners = contents + n
  local stored = owners + n
  local counts = alive and stored + n or owners
  local jobs = counts + n

  local recent, before = rotate(window)
  local seen1 = read('HMGET', recent, ARGV, K + 1, K + n)
  local seen2 = read('HMGET', before, ARGV, K + 1, K + n)

  -- Which events are stored already. One of the same ID but other content
  -- gets a key of its own.
  local there = alive and {} or read('HMGET', EVENTS, ARGV, K + 1, K + n)
  local keys, stand = {}, {}
  for e = 1, n do
    local key, content = ARGV[K + e], ARGV[contents + e]
    if alive then
      if content == '' then
        key, stand[e] = ARGV[stored + e], true
      else
        there[e] = call('HGET', EVENTS, key)
      end
    end
    if there[e] then
      stand[e] = string.sub(there[e], 17) == content
      if not stand[e] then
        key = key .. string.sub(redis.sha1hex(content), 1, 16)
        stand[e] = call('HEXISTS', EVENTS, key) == 1
      end
    end
    keys[e] = key
  end

  -- Jobs that may be new, by lane.
  local new = {}
  local groups, order = {}, {}
  local q = 0
  for e = 1, n do
    local count = tonumber(ARGV[counts + e])
    if alive and not alive[tonumber(ARGV[owners + e])] then
      for i = 1, count do
        q = q + 1
        new[q] = '0'
      end
    else
      local known = lookup(seen1[e], seen2[e])
      for i = 1, count do
        q = q + 1
        new[q] = '0'
        local job = tonumber(ARGV[jobs + q])
        local lane = job % nlanes + 1
        if not (known and known(codes[lane])) then
          local g = groups[lane]
          if not g then
            g = {n = 0, keys = {}, events = {}, jobs = {}, classes = {}}
            groups[lane] = g
            order[#order + 1] = lane
          end
          local m = g.n + 1
          g.n = m
          g.keys[m], g.events[m], g.jobs[m] = ARGV[K + e], e, q
          g.classes[m] = floor(job / nlanes) + 1
        end
      end
    end
  end

  -- Each waiting job has a time stamp of its own, so that those of a lane keep
  -- their order. Stamps lie in the past where there is room.
  local base = max(clock, now - q)
  local last = clock
  local fresh, told, records = {}, {}, {}
  for _, lane in ipairs(order) do
    local g, key, code = groups[lane], KEYS[LANES + lane], codes[lane]
    local live
    if g.n > 1 then
      live = read('ZMSCORE', key, g.keys, 1, g.n)
    end
    local args, leased, waiting = {}, math.huge, math.huge
    for m = 1, g.n do
      if not (live and live[m]) then
        local k, class = g.keys[m], g.classes[m]
        local score, stamp = leases[class], now
        if not score then
          stamp = base + g.jobs[m]
          score = (stamp + delays[class]) * 2
        end
        if live or call('ZADD', key, 'NX', score, k) == 1 then
          if live then
            args[#args + 1] = score
            args[#args + 1] = k
          end
          local e = g.events[m]
          fresh[e] = (fresh[e] or 0) + 1
          local t = told[e]
          if not t then
            told[e] = {code}
          else
            t[#t + 1] = code
          end
          if leases[class] then
            leased = min(leased, score)
          else
            waiting = min(waiting, score)
            last = max(last, stamp)
          end
          local event = keys[e]
          new[g.jobs[m]] = '2'
          if event == k then
            event = ''
            new[g.jobs[m]] = '1'
          end
          if event ~= '' or (delays[class] > 0 and not leases[class]) then
            records[#records + 1] = k .. code
            records[#records + 1] = pack(RECORD, leases[class] and 1 or 0, 0, stamp, #event) .. event
          end
        end
      end
    end
    write('ZADD', key, nil, args, 1, #args)
    if waiting < math.huge then
      due(kinds[lane], names[lane], waiting)
    end
    if leased < waiting then
      touch(kinds[lane], names[lane], leased)
    end
  end
  clock = last

  -- The events, once each, and the memory of what was pushed.
  local stamp = format('%016.0f', now)
  local events, refs, seen = {}, {}, {}
  for e = 1, n do
    local f = fresh[e]
    if f then
      local key = keys[e]
      if not stand[e] then
        events[#events + 1] = key
        events[#events + 1] = stamp .. ARGV[contents + e]
        if f > 1 then
          refs[#refs + 1] = key
          refs[#refs + 1] = f
        end
      else
        refs[#refs + 1] = key
        refs[#refs + 1] = tonumber(call('HGET', REFS, key) or 1) + f
      end
      local list = table.concat(told[e])
      seen[#seen + 1] = ARGV[K + e]
      seen[#seen + 1] = seen1[e] and seen1[e] .. list or list
    end
  end
  write('HSET', EVENTS, nil, events, 1, #events)
  write('HSET', REFS, nil, refs, 1, #refs)
  write('HSET', RECORDS, nil, records, 1, #records)
  write('HSET', recent, nil, seen, 1, #seen)
  return table.concat(new), tokens
end
