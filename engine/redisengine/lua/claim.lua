-- Claim. Arguments: prefix of lane keys, kind, Max, MaxPerLane, lease, whether
-- only to look (1 or 0); then
--   the number of limits, then lane and limit of each
--   -1, or the number of lanes that are asked for, then their names
--   the dedupe window, for the old to be forgotten where nothing is pushed
--   the time from which it is too late
if now > tonumber(ARGV[#ARGV]) then
  return {format('%d', now)}
end
know()
local prefix, kind = ARGV[1], tonumber(ARGV[2])
local most, perLane, lease = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local look = ARGV[6] == '1'
local p = 7
local limits, excluded = {}, 0
for i = 1, tonumber(ARGV[p]) do
  limits[ARGV[p + 1]] = tonumber(ARGV[p + 2])
  if ARGV[p + 2] == '0' then
    excluded = excluded + 1
  end
  p = p + 2
end
p = p + 1
local nonly = tonumber(ARGV[p])
local only = p

local ready, rest = READY[kind], REST[kind]
local ripe = max(now, clock) * 2 + 1
-- These bound the time of a call: the lanes that it looks at, and those that it
-- claims from. Where there are more it hands out one job of each.
local EXAMINE, SERVE = 1000, 200

-- Lanes that have due jobs, and for how many. READY may name lanes too early:
-- what is found there is corrected.
local lanes, certain = {}, 0
local bounds, empty = {}, {}
local function examine(names, scores)
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

local left = false -- something due stays behind
if nonly >= 0 then
  local asked, known = {}, {}
  for i = 1, nonly do
    local name = ARGV[only + i]
    if limits[name] ~= 0 and not known[name] then
      known[name] = true
      asked[#asked + 1] = name
    end
  end
  local names, scores = {}, read('ZMSCORE', ready, asked, 1, #asked)
  for i, name in ipairs(asked) do
    if scores[i] and tonumber(scores[i]) <= ripe then
      names[#names + 1] = name
    end
  end
  examine(names)
  asked.n = #asked
  only = asked
else
  local size, offset = min(most, SERVE) + 64, 0
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

table.sort(lanes, function(a, b) return a.head < b.head end)
for i = #lanes, min(most, SERVE) + 1, -1 do
  lanes[i] = nil
  left = true
  most = min(most, SERVE)
end

-- Share out: each lane as many as the next, what one has not goes to others.
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

-- Of the jobs, lane by lane: scores before, events; and number, score now and
-- record of those whose score now is not first or that have a record.
local names, scores, events, special = {}, {}, {}, {}
local first = format('%d', leaseEnd(lease, 1))
local lost = 0
if look then
  -- The caller wants to see the scores, to merge them with other shards'.
  for _, lane in ipairs(lanes) do
    names[#names + 1] = lane.name
    names[#names + 1] = lane.taken
    for i = 1, lane.taken do
      scores[#scores + 1] = lane.scores[i]
    end
    left = left or (lane.next ~= nil and lane.next <= ripe)
  end
else
  local ids, keys, n = {}, {}, 0
  local records = {}
  for _, lane in ipairs(lanes) do
    for i = 1, lane.taken do
      keys[n + i] = lane.keys[i]
    end
    n = n + lane.taken
  end
  local function id(lane, k)
    if not lane.code then
      local hash = redis.sha1hex(kind .. lane.name)
      lane.code = pack('>I4I4', tonumber(string.sub(hash, 1, 8), 16), tonumber(string.sub(hash, 9, 16), 16))
    end
    return k .. lane.code
  end
  if call('EXISTS', RECORDS) == 1 then
    for _, lane in ipairs(lanes) do
      for i = 1, lane.taken do
        ids[#ids + 1] = id(lane, lane.keys[i])
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
  local update, i, m = {}, 0, 0
  for _, lane in ipairs(lanes) do
    local leases, missing = {}, {}
    left = left or lane.next ~= nil and lane.next <= ripe
    for j = 1, lane.taken do
      i = i + 1
      local k, before, record = lane.keys[j], lane.scores[j], records[i]
      local event = stored[i]
      if not event then
        -- Only a server that evicts keys, or a foreign hand, does this.
        missing[#missing + 1] = k
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
        if record then
          update[#update + 1] = id(lane, k)
          update[#update + 1] = record
          local s = #special
          special[s + 1], special[s + 2], special[s + 3] = m + 1, score, record
        end
        local l = #leases
        leases[l + 1], leases[l + 2] = score, k
        m = m + 1
        scores[m], events[m] = before, event
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

-- When to come again: 0 if something is left, -1 if nothing is known.
local next = -1
if left then
  next = 0
else
  local bound = math.huge
  if nonly >= 0 then
    for _, score in ipairs(read('ZMSCORE', ready, only, 1, only.n)) do
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
  if bound < math.huge then
    next = max(floor(bound / 2) - now, 0)
  end
  -- Leave a note: whoever makes something due earlier than that is to tell.
  local wait = meta[3 + kind]
  if not wait or tonumber(wait) < bound then
    call('HSET', META, 'wait' .. kind, bound == math.huge and '1e300' or format('%d', bound))
  end
end
rotate(tonumber(ARGV[#ARGV - 1]))
return {format('%d', now), format('%d', next), lost, names, table.concat(scores, ' '), events, first, special}
