-- Forgets a job that has ended: record, events and deliveries. KEYS: record. ARGV: owner, '1' = its Idempotency-Key too,
-- ids of its deliveries. What takes memory may fail where Redis is full: removing must not.
--- @include "files.lua"
local KIND, ID = string.match(KEYS[1], '^(%a+):(.*)$')
local LISTS = KIND .. 's:'
local owner, forget_key = unpack(ARGV)
local bytes, files, idempotency = unpack(redis.call('HMGET', KEYS[1], 'bytes', 'files', 'idempotency'))
redis.pcall('ZADD', ORPHANED, 0, ID)
if bytes then redis.pcall('HINCRBY', LISTS .. 'bytes', owner, -bytes) end
if files then count_files(owner, 0 - files) end
redis.call('DEL', KEYS[1], EVENTS .. ID, STATE .. ID, PREVIEWS .. ID)
redis.call('ZREM', LISTS .. 'ended', ID)
redis.call('ZREM', LISTS .. 'of:' .. owner, ID)
for _, status in ipairs({'queued', 'processing', 'succeeded', 'failed', 'canceled'}) do
  redis.call('ZREM', LISTS .. 'of:' .. owner .. ':' .. status, ID)
end
if idempotency and forget_key == '1' then
  redis.call('DEL', idempotency)
  redis.call('ZREM', IDEMPOTENCY_OF .. owner, idempotency)
end
for i = 3, #ARGV do
  local key = DELIVERY .. ARGV[i]
  redis.call('DEL', key, key .. DELIVERED_RECORD, key .. ATTEMPTS)
  redis.call('ZREM', DUE, ARGV[i])
  redis.call('ZREM', DELIVERIES_OF .. owner, ARGV[i])
end
