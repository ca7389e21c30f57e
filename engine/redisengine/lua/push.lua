-- Push.
--
--   | argument                                                               |
--   | channel and sender of hints                                            |
--   | the dedupe window where the store has none                             |
--   | the number of channels that are asked about; their keys come behind    |
--   |   those of the lanes, as lua/audience.lua takes them                   |
--   | up to how many subscribers are listed                                  |
--   | the jobs, as lua/store.lua reads them                                  |
--
--   | part of the answer                                                     |
--   | the time                                                               |
--   | what store returns: which jobs are new, the scores of the classes, the |
--   |   time stamp before the first's                                        |
--   | the kinds that were told of                                            |
--   | who gets the events of each of the channels, see lua/audience.lua      |
local _, _, hints, sender, window, channels, most = unpack(ARGV, 1, 7)
position = 7
local new, leases, base = store(tonumber(window))
local audiences = {}
for i = #KEYS - 3 * channels + 1, #KEYS, 3 do
  audiences[#audiences + 1] = audience(KEYS[i], KEYS[i + 1], KEYS[i + 2], tonumber(most), now)
end
return {format('%d', now), new, leases, format('%d', base), finish(hints, sender), audiences}
