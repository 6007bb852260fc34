-- Accepts a job: writes its record, gives it its turn, remembers its Idempotency-Key.
-- KEYS: record, idempotency.
-- ARGV: idempotency key ('' = none), hash of the body, most that may wait in all, most of the owner ('' = no bound),
-- owner, priority, exclusive name ('' = none), then the record's fields and values.
-- Returns the rank, the id that the key has made, or 'conflict', 'full', 'busy', 'taken'.
--- @include "change.lua"
local record, idempotency = unpack(KEYS)
local key, body, most, most_of_owner, owner, priority, name = unpack(ARGV)
if key ~= '' then
  local known, sent = unpack(redis.call('HMGET', idempotency, 'generation', 'body'))
  if known then return sent == body and known or 'conflict' end
end
if most ~= '' and redis.call('ZCARD', LISTS .. 'queued') >= tonumber(most) then return 'full' end
if most_of_owner ~= '' then
  local own = LISTS .. 'of:' .. owner .. ':'
  local jobs = redis.call('ZCARD', own .. 'queued') + redis.call('ZCARD', own .. 'processing')
  if jobs >= tonumber(most_of_owner) then return 'busy' end
end
if name ~= '' then
  local names = LISTS .. 'names'
  local other = redis.call('HGET', names, name)
  local status = other and redis.call('HGET', KIND .. ':' .. other, 'status')
  if status == 'queued' or status == 'processing' then return 'taken' end
  redis.call('HSET', names, name, ID)
  redis.call('HSET', record, 'name', name)
end
local sequence = redis.call('INCR', LISTS .. 'sequence')
redis.call('HSET', record, 'owner', owner, 'sequence', sequence, unpack(ARGV, 8))
local rank = give_turn(owner, priority)
redis.call('HSET', record, 'rank', rank)
redis.call('ZADD', LISTS .. 'of:' .. owner, sequence, ID)
enter(record, 'queued')
redis.call('ZREM', ORPHANED, ID)
if key ~= '' then
  redis.call('HSET', idempotency, 'generation', ID, 'body', body)
  redis.call('EXPIRE', idempotency, IDEMPOTENCY_SECONDS)
end
tell(record, '1-0', 'queued')
return rank
