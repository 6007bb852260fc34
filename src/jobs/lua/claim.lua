-- A worker takes a job. KEYS: record. Returns the attempt's number; 0 = nothing is left to do.
--- @include "change.lua"
local record = KEYS[1]
local fields = redis.call('HMGET', record, 'status', 'saved_step', 'parked', 'owner', 'rank')
local status, saved, parked, owner, rank = unpack(fields)
if status ~= 'queued' and status ~= 'processing' then return 0 end
if parked then leave_parked(record, owner, rank, true) end
enter(record, 'processing')
redis.call('HSET', record, 'step', saved or 0)
local attempt = redis.call('HINCRBY', record, 'attempt', 1)
if redis.call('HSETNX', record, 'started_at', AT) == 1 then
  announce(record, 'started')
  tell(record, '2-0', 'started')
end
return attempt
