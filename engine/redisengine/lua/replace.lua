-- Gives a key a value if it has a certain one.
--
--   | argument                                                               |
--   | the value that it must have                                            |
--   | the new one                                                            |
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2])
end
return 1
