-- Takes deliveries that are due. KEYS: due. ARGV: how many at most, lease in ms.
-- Returns rows of id, delivery's fields, record's fields, when the endpoint said that it is gone.
--- @include "../../redis/lua/now.lua"
local taken = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], '-inf', NOW, 'BYSCORE', 'LIMIT', 0, ARGV[1])) do
  local key = DELIVERY .. id
  if redis.call('EXISTS', key) == 1 then
    redis.call('ZADD', KEYS[1], NOW + ARGV[2], id)
    redis.call('HINCRBY', key, 'lease', 1)
    local owner, url = unpack(redis.call('HMGET', key, 'owner', 'url'))
    local gone = redis.call('GET', GONE .. owner .. ':' .. url)
    local record = redis.call('HGETALL', key .. DELIVERED_RECORD)
    local request = redis.call('HGET', redis.call('HGET', key, 'record') or '', 'request')
    if request then
      table.insert(record, 'request')
      table.insert(record, request)
    end
    table.insert(taken, {id, redis.call('HGETALL', key), record, gone})
  else
    redis.call('ZREM', KEYS[1], id)
  end
end
return taken
