-- Cancels a job that waits, asks for one that runs to stop. KEYS: record.
-- Returns 'canceled', 'processing' or 'ended'.
--- @include "change.lua"
local record = KEYS[1]
local status, parked, owner, rank = unpack(redis.call('HMGET', record, 'status', 'parked', 'owner', 'rank'))
if parked then leave_parked(record, owner, rank, false) end
if status == 'queued' or parked then
  finish(record, 'canceled')
  return 'canceled'
elseif status == 'processing' then
  redis.call('HSET', record, 'cancel_requested', AT)
  redis.call('PUBLISH', CANCEL_CHANNEL, ID)
  return 'processing'
end
return 'ended'
