-- Counts an upload as its owner's no more. KEYS, as in take-upload.lua. ARGV: id.
local times, sizes = unpack(KEYS)
if redis.call('ZREM', times, ARGV[1]) == 1 then
  redis.call('HINCRBY', sizes, 'all', 0 - (redis.call('HGET', sizes, ARGV[1]) or 0))
  redis.call('HDEL', sizes, ARGV[1])
end
