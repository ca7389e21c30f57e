-- What can be told quickly of some lanes, which may be of several kinds.
--
--   | argument                                                               |
--   | the number of lanes, then kind, name and key of each                   |
--
--   | part of the answer                                                     |
--   | the time                                                               |
--   | of each lane: the number of its jobs, its earliest score, and until    |
--   |   when nobody claims from it; empty if there is none                   |
local answer = {}
local lanes, n = leaveList(3)
for i = lanes + 1, lanes + 3 * n, 3 do
  local kind, name, laneKey = tonumber(ARGV[i]), ARGV[i + 1], ARGV[i + 2]
  local head = call('ZRANGE', laneKey, 0, 0, 'WITHSCORES')
  local last = #answer
  answer[last + 1] = head[2] and call('ZCARD', laneKey) or 0
  answer[last + 2] = head[2] or ''
  answer[last + 3] = call('ZSCORE', REST[kind], name) or ''
end
return {format('%d', now), answer}
