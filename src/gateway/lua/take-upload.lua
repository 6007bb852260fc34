-- Counts an upload as its owner's, or one that is counted already anew.
-- KEYS: sorted set of what the owner has, by when it expires (ms); hash of its bytes, 'all' = all together.
-- ARGV: id, bytes, when it expires, most uploads, bytes of the room that is left for everybody.
-- Returns false, or which bound is passed: 'count', 'bytes'.
--- @include "../../redis/lua/now.lua"
--- @include "../../redis/lua/memory.lua"
local times, sizes = unpack(KEYS)
local id, bytes, expires, most, room = unpack(ARGV)
local function forget(one)
  redis.call('ZREM', times, one)
  redis.call('HINCRBY', sizes, 'all', 0 - (redis.call('HGET', sizes, one) or 0))
  redis.call('HDEL', sizes, one)
end
for _, one in ipairs(redis.call('ZRANGEBYSCORE', times, '-inf', NOW, 'LIMIT', 0, 1000)) do forget(one) end
if redis.call('ZSCORE', times, id) then forget(id) end
if redis.call('ZCARD', times) >= tonumber(most) then return 'count' end
-- Half of what the owner has and could have.
local all = tonumber(redis.call('HGET', sizes, 'all') or 0)
if all + 2 * bytes > tonumber(room) then return 'bytes' end
redis.call('ZADD', times, expires, id)
redis.call('HSET', sizes, id, bytes)
redis.call('HINCRBY', sizes, 'all', bytes)
local last = redis.call('ZRANGE', times, -1, -1, 'WITHSCORES')[2]
redis.call('PEXPIREAT', times, last)
redis.call('PEXPIREAT', sizes, last)
return false
