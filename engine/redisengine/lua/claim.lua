-- Claim. Arguments: prefix of lane keys, kind, Max, MaxPerLane, lease, whether
-- only to look (1 or 0); then
--   the number of limits, then lane and limit of each
--   -1, or the number of lanes that are asked for, then their names
--   the dedupe window, for the old to be forgotten where nothing is pushed
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
-- EXAMINE bounds the lanes looked at in one call, and with them its time.
local EXAMINE = 2000

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
      lanes[#lanes + 1] = {name = name, key = key, head = score, limit = limits[name] or perLane, taken = 0, jobs = {}}
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
  local size, offset = most + 64, 0
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
  until last or certain >= most or offset >= EXAMINE + excluded
end

table.sort(lanes, function(a, b) return a.head < b.head end)
for i = #lanes, most + 1, -1 do
  lanes[i] = nil
  left = true
end

-- Share out: each lane as many as the next, what one has not goes to others.
local room, hungry = most, lanes
while room > 0 and #hungry > 0 do
  local more = {}
  for i, lane in ipairs(hungry) do
    local share = min(math.ceil(room / (#hungry - i + 1)), lane.limit - lane.taken)
    if share > 0 then
      local found = call('ZRANGE', lane.key, lane.taken, lane.taken + share, 'WITHSCORES')
      local got = 0
      lane.next = nil
      for j = 1, #found, 2 do
        local score = tonumber(found[j + 1])
        if got == share or score > ripe then
          lane.next = score
          break
        end
        got = got + 1
        lane.jobs[#lane.jobs + 1] = {found[j], found[j + 1], score}
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

local names, jobs = {}, {}
local lost = 0
if look then
  -- The caller wants to see the scores, to merge them with other shards'.
  for _, lane in ipairs(lanes) do
    names[#names + 1] = lane.name
    names[#names + 1] = lane.taken
    for _, job in ipairs(lane.jobs) do
      jobs[#jobs + 1] = job[2]
    end
    left = left or (lane.next ~= nil and lane.next <= ripe)
  end
else
  local ids, keys, n = {}, {}, 0
  for _, lane in ipairs(lanes) do
    local hash = redis.sha1hex(kind .. lane.name)
    lane.code = pack('>I4I4', tonumber(string.sub(hash, 1, 8), 16), tonumber(string.sub(hash, 9, 16), 16))
    for _, job in ipairs(lane.jobs) do
      n = n + 1
      ids[n] = job[1] .. lane.code
      keys[n] = job[1]
    end
  end
  local records = read('HMGET', RECORDS, ids, 1, n)
  local claims = {}
  for i = 1, n do
    claims[i] = 1
    if records[i] then
      local c, _, _, size, from = fields(RECORD, records[i])
      claims[i] = c + 1
      if size > 0 then
        keys[i] = string.sub(records[i], from, from + size - 1)
      end
    end
  end
  local events = read('HMGET', EVENTS, keys, 1, n)
  local update, i = {}, 0
  for _, lane in ipairs(lanes) do
    local leases, missing = {}, {}
    local bound = lane.next or math.huge
    left = left or bound <= ripe
    local handed = 0
    for _, job in ipairs(lane.jobs) do
      i = i + 1
      local record = records[i]
      if not events[i] then
        -- Only a server that evicts keys, or a foreign hand, does this.
        missing[#missing + 1] = job[1]
        lost = lost + 1
      else
        if record then
          record = pack('>I4', claims[i]) .. string.sub(record, 5)
        elseif job[3] % 2 == 1 then
          -- Its first lease, which left no record, has ended.
          claims[i] = 2
          record = pack(RECORD, 2, 0, fields('>I8', events[i]), 0)
        end
        if record then
          update[#update + 1] = ids[i]
          update[#update + 1] = record
        end
        local score = leaseEnd(lease, claims[i])
        bound = min(bound, score)
        leases[#leases + 1] = score
        leases[#leases + 1] = job[1]
        handed = handed + 1
        local m = #jobs
        jobs[m + 1], jobs[m + 2], jobs[m + 3] = job[1], format('%.0f', score), job[2]
        jobs[m + 4], jobs[m + 5] = record or '', events[i]
      end
    end
    write('ZADD', lane.key, 'XX', leases, 1, #leases)
    write('ZREM', lane.key, nil, missing, 1, #missing)
    if #lane.jobs > 0 then
      names[#names + 1] = lane.name
      names[#names + 1] = handed
    end
    if bound == math.huge then
      empty[#empty + 1] = lane.name
    else
      bounds[#bounds + 1] = bound
      bounds[#bounds + 1] = lane.name
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
    local page = call('ZRANGE', ready, '(' .. format('%.0f', ripe), '+inf', 'BYSCORE', 'LIMIT', 0, excluded + 1, 'WITHSCORES')
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
    call('HSET', META, 'wait' .. kind, bound == math.huge and '1e300' or format('%.0f', bound))
  end
end
rotate(tonumber(ARGV[#ARGV]))
return {format('%.0f', now), format('%.0f', next), lost, names, jobs}
