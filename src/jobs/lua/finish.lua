-- Ends a job, unless another attempt has it. KEYS: record. ARGV: attempt, status, bytes of the files that it has made, then
-- fields and values of the outcome. Returns the status that it ended with, or false.
--- @include "change.lua"
--- @include "files.lua"
local record = KEYS[1]
local latest, status, cancel = unpack(redis.call('HMGET', record, 'attempt', 'status', 'cancel_requested'))
if status ~= 'processing' or latest ~= ARGV[1] then return false end
if cancel then
  finish(record, 'canceled')
  return 'canceled'
end
if #ARGV > 3 then redis.call('HSET', record, unpack(ARGV, 4)) end
redis.call('HINCRBY', record, 'files', ARGV[3])
count_files(redis.call('HGET', record, 'owner'), ARGV[3])
finish(record, ARGV[2])
return ARGV[2]
