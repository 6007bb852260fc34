-- A worker gives the turn of a job that it has saved to others. KEYS: record. ARGV: attempt. Returns the job's new rank; it
-- goes on processing, and is `parked` until a worker takes it again.
--- @include "change.lua"
local owner, rank, attempt, status = unpack(redis.call('HMGET', KEYS[1], 'owner', 'rank', 'attempt', 'status'))
if attempt ~= ARGV[1] or status ~= 'processing' then return tonumber(rank or 1) end
rank = give_turn(owner, math.floor((rank - 1) / TURNS_EACH))
redis.call('HSET', KEYS[1], 'rank', rank, 'parked', 1)
count_waiting(owner, 1)
return rank
