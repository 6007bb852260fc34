-- announce(record key, event) writes the delivery of an event, if the request asks for it, in the transaction of the script
-- that changes the job's status. Call it when the record is as the event shall show it. The names of the keys come from the
-- record, so this needs one Redis, not a Redis Cluster. Reads NOW.

-- The fields and values of a record but for the request, which never changes: it is kept once, in the record.
local function without_request(record)
  local kept = {}
  local fields = redis.call('HGETALL', record)
  for i = 1, #fields, 2 do
    if fields[i] ~= 'request' then
      table.insert(kept, fields[i])
      table.insert(kept, fields[i + 1])
    end
  end
  return kept
end

local function announce(record, event)
  local url, events, owner = unpack(redis.call('HMGET', record, 'webhook_url', 'webhook_events', 'owner'))
  if not url or not string.find(',' .. events .. ',', ',' .. event .. ',', 1, true) then return end
  local job = string.match(record, ':(.*)$')
  local id = 'evt_' .. string.gsub(job, '^gen_', '') .. '_' .. event
  local key = DELIVERY .. id
  if redis.call('EXISTS', key) == 1 then return end
  local at = redis.call('HGET', record, event == 'started' and 'started_at' or 'ended_at')
  redis.call('HSET', key .. DELIVERED_RECORD, unpack(without_request(record)))
  redis.call('HSET', key, 'owner', owner, 'generation', job, 'record', record, 'event', event, 'url', url,
    'created_at', at, 'status', 'pending', 'tries', 0, 'next_attempt_at', at)
  redis.call('ZADD', DELIVERIES_OF .. owner, redis.call('INCR', DELIVERY_SEQUENCE), id)
  redis.call('ZADD', DUE, NOW, id)
end
