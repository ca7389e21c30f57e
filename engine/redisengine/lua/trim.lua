-- Removes dead letters that are too old. The limit to their number is kept over
-- all queues by the caller.
--
--   | argument                                                               |
--   | for how long they are kept where the store does not say                |
--
-- The answer is the time, and by how much it is ahead of the server's.
trim(UNLIMITED, tonumber(ARGV[3]))
return {format('%d', now), format('%d', now - (time[1] * 1e6 + time[2]))}
