-- Counts an upload as its owner's, or one that is counted already anew.
-- KEYS: as uploads.lua has them.
-- ARGV: id, bytes, when it expires, most uploads, bytes of the room that is left for everybody.
-- Returns false, or which bound is passed: 'count', 'bytes'.
--- @include "../../redis/lua/now.lua"
--- @include "../../redis/lua/memory.lua"
--- @include "uploads.lua"
local id, bytes, expires, most, room = unpack(ARGV)
for _, one in ipairs(redis.call('ZRANGEBYSCORE', times, '-inf', NOW, 'LIMIT', 0, 1000)) do forget(one) end
forget(id)
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
