-- Ends a job, unless another attempt has it. KEYS: record. ARGV: attempt, status, the time as an ISO text, then fields and
-- values of the outcome. Returns the status that it ended with, or false.
--- @include "change.lua"
local record = KEYS[1]
local latest, status, cancel = unpack(redis.call('HMGET', record, 'attempt', 'status', 'cancel_requested'))
if status ~= 'processing' or latest ~= ARGV[1] then return false end
if cancel then
  finish(record, 'canceled', ARGV[3])
  return 'canceled'
end
if #ARGV > 3 then redis.call('HSET', record, unpack(ARGV, 4)) end
finish(record, ARGV[2], ARGV[3])
return ARGV[2]
