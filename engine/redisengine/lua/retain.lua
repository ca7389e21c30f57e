-- Writes how long the store remembers what is over.
--
--   | argument                                                               |
--   | field of META and value, of each that is to be changed                 |
--
-- The answer is the time; the other part is empty.
call('HSET', META, unpack(ARGV, 3))
return {format('%d', now), ''}
