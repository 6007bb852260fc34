-- Fails a job that still waits. KEYS: record. ARGV: the time as an ISO text, the error as JSON. Returns 1 when it did.
--- @include "change.lua"
if redis.call('HGET', KEYS[1], 'status') ~= 'queued' then return 0 end
redis.call('HSET', KEYS[1], 'error', ARGV[2])
finish(KEYS[1], 'failed', ARGV[1])
return 1
