-- Makes a delivery due now, with its whole schedule before it. KEYS: due, delivery. ARGV: id, owner.
--- @include "../../redis/lua/now.lua"
local due, key = unpack(KEYS)
local owner, url = unpack(redis.call('HMGET', key, 'owner', 'url'))
if owner ~= ARGV[2] or not url then return 0 end
redis.call('HSET', key, 'status', 'pending', 'tries', 0, 'next_attempt_at', AT)
redis.call('DEL', GONE .. owner .. ':' .. url)
return redis.call('ZADD', due, 'CH', NOW, ARGV[1])
