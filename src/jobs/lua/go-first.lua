-- Gives a job that waits, or has given way itself, the turn that was taken last: one that runs gives way to it.
-- KEYS: record. Returns 0 when it waits no more.
--- @include "change.lua"
local status, parked, owner, rank = unpack(redis.call('HMGET', KEYS[1], 'status', 'parked', 'owner', 'rank'))
if status ~= 'queued' and not parked then return 0 end
redis.call('HSET', KEYS[1], 'rank', keep_turn(owner, rank))
return 1
