-- A worker stops a job that it has saved for others. KEYS: record. ARGV: attempt; of one that keeps its turn also what is
-- left of it, and how much of it has to be done before it gives way again to one as urgent. One that does not gets its
-- owner's next turn. Returns the job's rank; it goes on processing, and is `parked` until a worker takes it again. It ends
-- when it was to be canceled: nobody is at work on it who would hear of that.
--- @include "change.lua"
local fields = redis.call('HMGET', KEYS[1], 'owner', 'rank', 'attempt', 'status', 'cancel_requested')
local owner, rank, attempt, status, cancel = unpack(fields)
if attempt ~= ARGV[1] or status ~= 'processing' then return tonumber(rank or 1) end
if cancel then
  finish(KEYS[1], 'canceled')
  return tonumber(rank)
end
local left, owed = ARGV[2], ARGV[3]
if left then
  rank = keep_turn(owner, rank)
  may_go_first(owner, rank, tonumber(left))
  redis.call('HSET', KEYS[1], 'owed', owed)
else
  rank = give_turn(owner, math.floor((rank - 1) / TURNS_EACH))
end
redis.call('HSET', KEYS[1], 'rank', rank, 'parked', 1)
count_waiting(owner, 1)
return rank
