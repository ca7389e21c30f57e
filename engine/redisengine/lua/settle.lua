-- Settle. Arguments: channel and sender of hints, dedupe window, how many dead
-- letters are kept and how long, whether there are follow-up jobs (1 or 0);
-- then
--   the number of lanes, then kind, name and code of each
--   the number of groups, then the lane (from 0) and the size of each
--   the number of outcomes, then their job keys, scores and operations,
--   ordered by group
--   further arguments of the operations, as they come
--   the follow-up jobs, if any, as store reads them, with the same lanes
--
-- An operation is the engine.Result, plus 8 if the job has a record, plus 16
-- if its event key is not its job key and comes as the first further argument.
local DONE, RETRY, BURY, RELEASE, EXTEND = 1, 2, 3, 4, 5

local p = 7
local nlanes = tonumber(ARGV[p])
local lanes = p
p = p + 3 * nlanes + 1
local ngroups = tonumber(ARGV[p])
local groups = p
p = p + 2 * ngroups + 1
local n = tonumber(ARGV[p])
local K, T, O = p, p + n, p + 2 * n
p = p + 3 * n + 1

local ok, alive, tokens = {}, {}, {}
local drop, ndrop = {}, 0
local records, norecord = {}, {}
local buried = false
local i = 0
for g = 1, ngroups do
  local lane, size = tonumber(ARGV[groups + 2 * g - 1]), tonumber(ARGV[groups + 2 * g])
  local key = KEYS[LANES + 1 + lane]
  local kind, name, code = tonumber(ARGV[lanes + 3 * lane + 1]), ARGV[lanes + 3 * lane + 2], ARGV[lanes + 3 * lane + 3]
  local scores = read('ZMSCORE', key, ARGV, K + i + 1, K + i + size)
  local gone, again = {}, {}
  for m = 1, size do
    i = i + 1
    local mine = scores[m] == ARGV[T + i]
    ok[i] = mine and '1' or '0'
    alive[i] = mine
    local k, op = ARGV[K + i], ARGV[O + i]
    if op == '1' then
      if mine then
        gone[#gone + 1] = k
        ndrop = ndrop + 1
        drop[ndrop] = k
      end
    else
      op = tonumber(op)
      local result, event = op % 8, k
      if op >= 16 then
        event = ARGV[p]
        p = p + 1
      end
      local a, b = ARGV[p], ARGV[p + 1]
      if result == RETRY or result == RELEASE or result == EXTEND then
        p = p + 2
      elseif result == BURY then
        p = p + 1
      end
      if mine then
        if result == DONE then
          gone[#gone + 1] = k
          ndrop = ndrop + 1
          drop[ndrop] = event
        elseif result == BURY then
          gone[#gone + 1] = k
          clock = max(clock + 1, now)
          local id = format('%.0f', clock)
          call('ZADD', DEAD, clock, id)
          call('HSET', BURIED, id, a)
          buried = true
        elseif result == EXTEND then
          local score = leaseEnd(tonumber(a), tonumber(b))
          again[#again + 1] = score
          again[#again + 1] = k
          tokens[#tokens + 1] = format('%.0f', score)
          touch(kind, name, score)
        else
          local score = (now + tonumber(a)) * 2
          again[#again + 1] = score
          again[#again + 1] = k
          if b ~= '' then
            records[#records + 1] = k .. code
            records[#records + 1] = b
          end
          due(kind, name, score)
        end
        if op % 16 >= 8 and (result == DONE or result == BURY) then
          norecord[#norecord + 1] = k .. code
        end
      end
      if result == EXTEND and not mine then
        tokens[#tokens + 1] = ''
      end
    end
  end
  write('ZREM', key, nil, gone, 1, #gone)
  write('ZADD', key, nil, again, 1, #again)
end
write('HSET', RECORDS, nil, records, 1, #records)
write('HDEL', RECORDS, nil, norecord, 1, #norecord)

local new, leases = '', {}
if ARGV[6] == '1' then
  new, leases = store(p, tonumber(ARGV[3]), alive)
end
release(drop, ndrop)
if buried then
  trim(tonumber(ARGV[4]), tonumber(ARGV[5]))
end
return {format('%.0f', now), table.concat(ok), tokens, new, leases, finish(ARGV[1], ARGV[2])}
