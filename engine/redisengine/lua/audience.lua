-- The subscribers of a channel. It has three keys, which lie in one slot:
--
--   channel     set   callback URLs, shared with apps that use the Ruby gem
--   registered  hash  callback URL -> when this engine has added it last
--   ends        zset  callback URL -> when its registration ends, if it does
--
-- A member that is not in registered was added by others: it has no end.

-- audience returns who gets the events of a channel: the callback URLs, packed
-- into one string, which is empty if there are none; or their number if that is
-- more than most; or an error.
local function audience(channel, registered, ends, most, now)
  -- END_AT_ONCE is how many registrations are ended in one step.
  local END_AT_ONCE = 1000

  -- endRegistrations takes off the subscribers whose registration has ended, and
  -- returns whether there were any.
  local function endRegistrations(channel, registered, ends, now)
    local any = false
    repeat
      local over = redis.call('ZRANGE', ends, '-inf', string.format('%d', now), 'BYSCORE', 'LIMIT', 0, END_AT_ONCE)
      if #over > 0 then
        any = true
        redis.call('SREM', channel, unpack(over))
        redis.call('ZREM', ends, unpack(over))
        redis.call('HDEL', registered, unpack(over))
      end
    until #over < END_AT_ONCE
    return any
  end

  -- forgetRemoved drops what is kept of members that others have removed: it
  -- must not count if they add them again.
  local function forgetRemoved(channel, registered, ends)
    local urls = redis.call('HKEYS', registered)
    for first = 1, #urls, END_AT_ONCE do
      local last = math.min(first + END_AT_ONCE - 1, #urls)
      local gone = {}
      for i, is in ipairs(redis.call('SMISMEMBER', channel, unpack(urls, first, last))) do
        if is == 0 then
          gone[#gone + 1] = urls[first + i - 1]
        end
      end
      if #gone > 0 then
        redis.call('HDEL', registered, unpack(gone))
        redis.call('ZREM', ends, unpack(gone))
      end
    end
  end

  local function listMembers(channel, registered, ends, most, now)
    local size = redis.call('SCARD', channel)
    local known = redis.call('HLEN', registered)
    if known > size then
      forgetRemoved(channel, registered, ends)
    end
    if known > 0 and endRegistrations(channel, registered, ends, now) then
      size = redis.call('SCARD', channel)
    end
    if size > most then
      return size
    elseif size == 0 then
      return ''
    end
    return cmsgpack.pack(redis.call('SMEMBERS', channel))
  end

  local ok, answer = pcall(listMembers, channel, registered, ends, most, now)
  if ok then
    return answer
  end
  return {err = type(answer) == 'table' and answer.err or tostring(answer)}
end
