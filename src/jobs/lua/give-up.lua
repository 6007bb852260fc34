-- Fails a job that still waits. KEYS: record. ARGV: the error as JSON. Returns 1 when it did.
--- @include "change.lua"
if redis.call('HGET', KEYS[1], 'status') ~= 'queued' then return 0 end
redis.call('HSET', KEYS[1], 'error', ARGV[1])
finish(KEYS[1], 'failed')
return 1
