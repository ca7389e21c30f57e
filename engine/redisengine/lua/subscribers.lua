-- The subscribers of a channel, whose keys are those that lua/audience.lua
-- takes.
--
--   | argument                                                               |
--   | up to how many are listed                                              |
--   | the time                                                               |
--
-- The answer is what audience returns, in a list.
return {audience(KEYS[1], KEYS[2], KEYS[3], tonumber(ARGV[1]), tonumber(ARGV[2]))}
