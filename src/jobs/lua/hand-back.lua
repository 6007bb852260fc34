-- A worker that stops, and did not die over it, gives a job back. KEYS: record. Returns its rank: that of the turn that was
-- taken last, should turns have begun again since it had its own, so that nobody who came later goes before it.
--- @include "change.lua"
local rank = tonumber(redis.call('HGET', KEYS[1], 'rank') or 0)
if rank == 0 then return 1 end
rank = no_later(rank)
redis.call('HSET', KEYS[1], 'rank', rank)
redis.call('HINCRBY', KEYS[1], 'handed_back', 1)
return rank
