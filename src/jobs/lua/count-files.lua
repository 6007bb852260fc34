-- Counts a part of a job's files as its owner's. KEYS: record. ARGV: part, bytes, step: '' = the part has these bytes, in place
-- of what was counted of it before; else it has so many more, which were made at that step and are counted once.
--- @include "files.lua"
local record = KEYS[1]
local part, bytes, step = 'files_' .. ARGV[1], tonumber(ARGV[2]), ARGV[3]
local owner, before, latest = unpack(redis.call('HMGET', record, 'owner', part, part .. '_step'))
if not owner then return end
if step == '' then
  bytes = bytes - (before or 0)
elseif tonumber(step) <= tonumber(latest or -1) then
  return
else
  redis.pcall('HSET', record, part .. '_step', step)
end
redis.pcall('HINCRBY', record, part, bytes)
redis.pcall('HINCRBY', record, 'files', bytes)
count_files(owner, bytes)
