-- Looks at the clock of a queue, and moves it; lib.lua tells of it. It is called
-- by those who expect nothing, so that now is the server's time.
--
--   | argument                                                               |
--   | by how much to move the offset; empty only to look                     |
--   | the offset that it must have for that                                  |
--
-- The answer is the server's time, and the offset and what was noted as they
-- were before.
local _, _, move, had = unpack(ARGV)
local offset = meta[10] or '0'
if move ~= '' and offset == had then
  call('HSET', META, 'offset', format('%d', tonumber(offset) + tonumber(move)))
end
return {format('%d', now), offset, meta[11] or '0'}
