-- Accepts a job: writes its record, gives it its turn, remembers its images and its Idempotency-Key.
-- KEYS: record, idempotency, then the sets of those that keep each of its images.
-- ARGV: idempotency key ('' = none), hash of the body, most that may wait in all, most of the owner, most of the owner's
-- that are kept, most bytes of these, bytes of the disk's room where others
-- share it ('' = no bound), owner, priority, exclusive name ('' = none),
-- bytes of its files, seconds for which its images can be named, then the record's fields and values. Returns the rank and
-- the time as an ISO text; or the id that the key has made, or 'conflict', 'full', 'busy', 'kept', 'taken'.
--- @include "change.lua"
--- @include "remember.lua"
--- @include "files.lua"
local record, idempotency = unpack(KEYS)
local key, body, most, most_of_owner, most_kept, most_bytes, room, owner, priority, name, files, images_seconds = unpack(ARGV)
local own = LISTS .. 'of:' .. owner
if key ~= '' then
  local known, sent = unpack(redis.call('HMGET', idempotency, 'generation', 'body'))
  if known then return sent == body and known or 'conflict' end
end

-- Whether as many wait as may. Who has fewer waiting than an equal share of them comes in beyond it, up to twice as many
-- in all: nobody who came first keeps the others out.
local function is_full()
  local waiting = redis.call('ZCARD', LISTS .. 'queued')
  if most == '' or waiting < tonumber(most) then return false end
  local ours = redis.call('ZCARD', own .. ':queued')
  local owners = redis.call('HLEN', LISTS .. 'waiting') + (ours == 0 and 1 or 0)
  return waiting >= 2 * most or ours >= math.max(1, math.floor(most / owners))
end
if is_full() then return 'full' end
if most_of_owner ~= '' then
  local jobs = redis.call('ZCARD', own .. ':queued') + redis.call('ZCARD', own .. ':processing')
  if jobs >= tonumber(most_of_owner) then return 'busy' end
end
local bytes = 0
for i = 13, #ARGV do bytes = bytes + #ARGV[i] end
if most_kept ~= '' and redis.call('ZCARD', own) >= tonumber(most_kept) then return 'kept' end
if most_bytes ~= '' and (redis.call('HGET', LISTS .. 'bytes', owner) or 0) + bytes > tonumber(most_bytes) then
  return 'kept'
end
-- Of what everybody's jobs have on the disk and what there is room for, an owner may have half.
if room ~= '' then
  local has, all = unpack(redis.call('HMGET', FILES, 'of:' .. owner, 'all'))
  if 2 * ((has or 0) + files) > (all or 0) + room then return 'kept' end
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
redis.call('HSET', record, 'owner', owner, 'sequence', sequence, 'created_at', AT, 'bytes', bytes, 'files', files, unpack(ARGV, 13))
redis.call('HINCRBY', LISTS .. 'bytes', owner, bytes)
count_files(owner, files)
local rank = give_turn(owner, priority)
redis.call('HSET', record, 'rank', rank)
redis.call('ZADD', own, sequence, ID)
enter(record, 'queued')
redis.call('ZREM', ORPHANED, ID)
for i = 3, #KEYS do
  redis.call('SADD', KEYS[i], ID)
  redis.call('EXPIRE', KEYS[i], images_seconds)
end
if key ~= '' then
  redis.call('HSET', idempotency, 'generation', ID, 'body', body)
  redis.call('EXPIRE', idempotency, IDEMPOTENCY_SECONDS)
  redis.call('HSET', record, 'idempotency', idempotency)
  remember(owner, idempotency)
end
tell(record, '1-0', 'queued')
return {rank, AT}
