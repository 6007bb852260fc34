-- Of an owner's uploads. KEYS: sorted set of them, by when they expire (ms); hash of their bytes, 'all' = all together.
local times, sizes = unpack(KEYS)
-- forget(id) counts one no more; nothing where it is not counted.
local function forget(id)
  if redis.call('ZREM', times, id) == 0 then return end
  redis.call('HINCRBY', sizes, 'all', 0 - (redis.call('HGET', sizes, id) or 0))
  redis.call('HDEL', sizes, id)
end
