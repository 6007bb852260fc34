-- Keeps for how long a job has been worked on. KEYS: record. ARGV: attempt, ms. Returns how many other owners have jobs of
-- its kind waiting.
--- @include "change.lua"
local owner, attempt, status = unpack(redis.call('HMGET', KEYS[1], 'owner', 'attempt', 'status'))
if attempt ~= ARGV[1] or status ~= 'processing' then return 0 end
redis.call('HSET', KEYS[1], 'worked_ms', ARGV[2])
return redis.call('HLEN', LISTS .. 'waiting') - redis.call('HEXISTS', LISTS .. 'waiting', owner)
