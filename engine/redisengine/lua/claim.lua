-- Claim.
--
--   | argument                                                               |
--   | the prefix of the keys of the kind's lanes                             |
--   | the kind                                                               |
--   | Max, MaxPerLane, Lease                                                 |
--   | 1 only to look, 0 to claim                                             |
--   | the number of limits, then lane and limit of each                      |
--   | -1, or the number of lanes that are asked for, then their names        |
--   | the dedupe window where the store has none: the old is forgotten       |
--   |   though nothing is pushed                                             |
--
--   | part of the answer                                                     |
--   | the time                                                               |
--   | after how long to come again, negative if nothing is known             |
--   | how many jobs were lost                                                |
--   | name and number of jobs of each lane                                   |
--   | the scores that the jobs had, separated by blanks                      |
--   | their events; none if only to look                                     |
--   | the score that they have now                                           |
--   | of those that have another or a record: their number, the score, the   |
--   |   record                                                               |
local _, _, prefix, kind, most, perLane, lease, look = unpack(ARGV, 1, 8)
kind, most, perLane, lease = tonumber(kind), tonumber(most), tonumber(perLane), tonumber(lease)
position = 8
local limited, nlimited = leaveList(2)
local limits, excluded = {}, 0
for i = limited + 1, limited + 2 * nlimited, 2 do
  limits[ARGV[i]] = tonumber(ARGV[i + 1])
  if ARGV[i + 1] == '0' then
    excluded = excluded + 1
  end
end
local asked, nasked = leaveList(1)
local window = tonumber(nextArgument())

local ready, rest = READY[kind], REST[kind]
local ripe = max(now, clock) * 2 + 1
-- These bound the time of a call: the lanes that it looks at, and those that it
-- claims from. Where there are more it hands out one job of each.
local EXAMINE, SERVE = 1000, 200

-- Lanes that have due jobs, and for how many. READY may name lanes too early:
-- what is found there is corrected.
local lanes = {}
local bounds, empty = {}, {}
local left = false -- something due stays behind

local function examine(names)
  if #names == 0 then
    return
  end
  local rests = read('ZMSCORE', rest, names, 1, #names)
  for i, name in ipairs(names) do
    local key = prefix .. name
    local head = call('ZRANGE', key, 0, 0, 'WITHSCORES')
    local score = tonumber(head[2])
    local wait = rests[i] and tonumber(rests[i]) or 0
    if not score then
      empty[#empty + 1] = name
    elseif wait > ripe or score > ripe then
      bounds[#bounds + 1] = max(wait, score)
      bounds[#bounds + 1] = name
    else
      lanes[#lanes + 1] = {name = name, key = key, head = score, limit = limits[name] or perLane, taken = 0, keys = {}, scores = {}}
    end
  end
end

-- The lanes: those that are asked for, or as many of the oldest as it takes.
local askedNames = {}
if nasked >= 0 then
  local known = {}
  for i = 1, nasked do
    local name = ARGV[asked + i]
    if limits[name] ~= 0 and not known[name] then
      known[name] = true
      askedNames[#askedNames + 1] = name
    end
  end
  local ripeNames, scores = {}, read('ZMSCORE', ready, askedNames, 1, #askedNames)
  for i, name in ipairs(askedNames) do
    if scores[i] and tonumber(scores[i]) <= ripe then
      ripeNames[#ripeNames + 1] = name
    end
  end
  examine(ripeNames)
else
  local size, offset, certain = min(most, SERVE) + 64, 0, 0
  repeat
    local page = call('ZRANGE', ready, '-inf', ripe, 'BYSCORE', 'LIMIT', offset, size, 'WITHSCORES')
    local names = {}
    for i = 1, #page, 2 do
      if limits[page[i]] ~= 0 then
        names[#names + 1] = page[i]
      end
    end
    examine(names)
    offset = offset + size
    -- A lane further on may be older only than those younger than its bound.
    certain = 0
    local bound = tonumber(page[#page])
    for _, lane in ipairs(lanes) do
      if bound and lane.head <= bound then
        certain = certain + 1
      end
    end
    local last = #page < 2 * size
    left = not last
  until last or certain >= min(most, SERVE) or offset >= EXAMINE + excluded
end

-- Their jobs are shared out: each lane gives as many as the next, what one has
-- not goes to others.
table.sort(lanes, function(a, b) return a.head < b.head end)
for i = #lanes, min(most, SERVE) + 1, -1 do
  lanes[i] = nil
  left = true
  most = min(most, SERVE)
end
local room, hungry = most, lanes
while room > 0 and #hungry > 0 do
  local more = {}
  for i, lane in ipairs(hungry) do
    local share = min(math.ceil(room / (#hungry - i + 1)), lane.limit - lane.taken)
    if share > 0 then
      local found = call('ZRANGE', lane.key, lane.taken, lane.taken + share, 'WITHSCORES')
      local got = #found / 2
      lane.next = nil
      while got > share or got > 0 and tonumber(found[2 * got]) > ripe do
        lane.next = tonumber(found[2 * got])
        got = got - 1
      end
      local keys, scores = lane.keys, lane.scores
      for j = 1, got do
        keys[lane.taken + j], scores[lane.taken + j] = found[2 * j - 1], found[2 * j]
      end
      lane.taken = lane.taken + got
      room = room - got
      if got == share and lane.next and lane.next <= ripe and lane.taken < lane.limit then
        more[#more + 1] = lane
      end
    end
  end
  hungry = more
end
for _, lane in ipairs(lanes) do
  left = left or lane.next ~= nil and lane.next <= ripe
end

-- What is answered of the jobs, lane by lane.
local names, scores, events, special = {}, {}, {}, {}
local first = format('%d', leaseEnd(lease, 1))
local lost = 0
if look == '1' then
  -- The caller wants to see the scores, to merge them with other queues'.
  for _, lane in ipairs(lanes) do
    names[#names + 1] = lane.name
    names[#names + 1] = lane.taken
    for i = 1, lane.taken do
      scores[#scores + 1] = lane.scores[i]
    end
  end
elseif #lanes > 0 then
  -- recordID is the field of a job in RECORDS.
  local function recordID(lane, key)
    if not lane.code then
      local hash = redis.sha1hex(kind .. lane.name)
      lane.code = pack('>I4I4', tonumber(string.sub(hash, 1, 8), 16), tonumber(string.sub(hash, 9, 16), 16))
    end
    return key .. lane.code
  end

  local keys, n = {}, 0
  for _, lane in ipairs(lanes) do
    for i = 1, lane.taken do
      keys[n + i] = lane.keys[i]
    end
    n = n + lane.taken
  end
  -- Where there are records, they say which event keys differ from job keys.
  local records = {}
  if call('EXISTS', RECORDS) == 1 then
    local ids = {}
    for _, lane in ipairs(lanes) do
      for i = 1, lane.taken do
        ids[#ids + 1] = recordID(lane, lane.keys[i])
      end
    end
    records = read('HMGET', RECORDS, ids, 1, n)
    for i = 1, n do
      if records[i] then
        local _, _, _, size, from = fields(RECORD, records[i])
        if size > 0 then
          keys[i] = string.sub(records[i], from, from + size - 1)
        end
      end
    end
  end
  local stored = read('HMGET', EVENTS, keys, 1, n)
  local update, i, taken = {}, 0, 0
  for _, lane in ipairs(lanes) do
    local leases, missing = {}, {}
    for j = 1, lane.taken do
      i = i + 1
      local key, before, record, event = lane.keys[j], lane.scores[j], records[i], stored[i]
      if not event then
        -- Only a server that evicts keys, or a foreign hand, does this.
        missing[#missing + 1] = key
        lost = lost + 1
      else
        local score = first
        if record then
          local claims = fields('>I4', record) + 1
          record = pack('>I4', claims) .. string.sub(record, 5)
          score = format('%d', leaseEnd(lease, claims % RELEASED + floor(claims / RELEASED)))
        elseif string.byte(before, -1) % 2 == 1 then
          -- Its first lease, which left no record, has ended.
          record = pack(RECORD, 2, 0, fields('>I8', event), 0)
          score = format('%d', leaseEnd(lease, 2))
        end
        taken = taken + 1
        if record then
          update[#update + 1] = recordID(lane, key)
          update[#update + 1] = record
          local s = #special
          special[s + 1], special[s + 2], special[s + 3] = taken, score, record
        end
        local l = #leases
        leases[l + 1], leases[l + 2] = score, key
        scores[taken], events[taken] = before, event
      end
    end
    write('ZADD', lane.key, 'XX', leases, 1, #leases)
    write('ZREM', lane.key, nil, missing, 1, #missing)
    if lane.taken > 0 then
      names[#names + 1] = lane.name
      names[#names + 1] = #leases / 2
    end
    if lane.next or #leases > 0 then
      bounds[#bounds + 1] = #leases > 0 and min(lane.next or math.huge, tonumber(first)) or lane.next
      bounds[#bounds + 1] = lane.name
    else
      empty[#empty + 1] = lane.name
    end
  end
  write('HSET', RECORDS, nil, update, 1, #update)
end
write('ZADD', ready, nil, bounds, 1, #bounds)
write('ZREM', ready, nil, empty, 1, #empty)

-- When to come again. A note is left: whoever makes something due earlier than
-- that is to tell.
local next = left and 0 or -1
if not left then
  local bound = math.huge
  if nasked >= 0 then
    for _, score in ipairs(read('ZMSCORE', ready, askedNames, 1, #askedNames)) do
      if score then
        bound = min(bound, tonumber(score))
      end
    end
  else
    local page = call('ZRANGE', ready, '(' .. format('%d', ripe), '+inf', 'BYSCORE', 'LIMIT', 0, excluded + 1, 'WITHSCORES')
    for i = 1, #page, 2 do
      if limits[page[i]] ~= 0 then
        bound = tonumber(page[i + 1])
        break
      end
    end
  end
  local wait = meta[3 + kind]
  if not wait or tonumber(wait) < bound then
    call('HSET', META, 'wait' .. kind, bound == math.huge and '1e300' or format('%d', bound))
  end
  if bound < math.huge then
    next = max(floor(bound / 2) - now, 0)
  end
end
rotate(window)
return {format('%d', now), format('%d', next), lost, names, table.concat(scores, ' '), events, first, special}
