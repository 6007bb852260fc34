-- Gives a delivery back without an attempt. KEYS: due, delivery. ARGV: id, lease, wait in ms.
--- @include "../../redis/lua/now.lua"
if redis.call('HGET', KEYS[2], 'lease') ~= ARGV[2] then return 0 end
return redis.call('ZADD', KEYS[1], 'XX', NOW + ARGV[3], ARGV[1])
