-- Ends a job, unless another attempt has it. KEYS: record. ARGV: attempt, status, then fields and values of the
-- outcome. Returns the status that it ended with, or false.
--- @include "change.lua"
local record = KEYS[1]
local latest, status, cancel = unpack(redis.call('HMGET', record, 'attempt', 'status', 'cancel_requested'))
if status ~= 'processing' or latest ~= ARGV[1] then return false end
if cancel then
  finish(record, 'canceled')
  return 'canceled'
end
if #ARGV > 2 then redis.call('HSET', record, unpack(ARGV, 3)) end
finish(record, ARGV[2])
return ARGV[2]
