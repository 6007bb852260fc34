-- Ends an attempt. KEYS: due, delivery, attempts. ARGV: id, lease, the attempt as JSON (an object without its
-- next_attempt_at), status, wait in ms. The attempt of a process that was too slow is logged too, but what comes next is for the one after it to say.
--- @include "../../redis/lua/now.lua"
local due, key, attempts = unpack(KEYS)
local id, lease, attempt, status, wait = unpack(ARGV)
local next_attempt_at = status == 'pending' and iso(NOW + wait) or ''
if redis.call('EXISTS', key) == 0 then return 0 end
local shown = next_attempt_at == '' and 'null' or '"' .. next_attempt_at .. '"'
redis.call('RPUSH', attempts, string.sub(attempt, 1, -2) .. ',"next_attempt_at":' .. shown .. '}')
redis.call('LTRIM', attempts, -MAX_ATTEMPTS, -1)
if redis.call('HGET', key, 'lease') ~= lease then return 0 end
redis.call('HINCRBY', key, 'tries', 1)
redis.call('HSET', key, 'status', status, 'next_attempt_at', next_attempt_at)
if status == 'pending' then
  redis.call('ZADD', due, NOW + wait, id)
else
  redis.call('ZREM', due, id)
end
return 1
