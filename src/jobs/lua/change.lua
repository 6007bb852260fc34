-- What a job goes through, for the scripts that change one: KEYS[1] is its record.
-- The ids of events are their places in the one order they can come in (1 queued, 2 started, 3 progress with the step
-- behind it, 4 the end): what is told twice, by a takeover or a command sent again, is refused.
--- @include "../../redis/lua/now.lua"
--- @include "../../redis/lua/memory.lua"
local KIND, ID = string.match(KEYS[1], '^(%a+):(.*)$')
local LISTS = KIND .. 's:'
--- @include "../../webhooks/lua/announce.lua"
--- @include "fair.lua"

local function tell(record, entry, event)
  redis.pcall('XADD', EVENTS .. ID, entry, 'event', event, unpack(without_request(record)))
  redis.call('PUBLISH', EVENT_CHANNEL, ID)
end

-- The hash of the owners who have jobs waiting, with how many.
local function count_waiting(owner, change)
  if redis.call('HINCRBY', LISTS .. 'waiting', owner, change) <= 0 then
    redis.call('HDEL', LISTS .. 'waiting', owner)
  end
end

-- What an owner has waiting that one that runs may give way to: the most urgent first, then the shortest; see shorter.lua.
local function shortest_of(owner) return LISTS .. 'of:' .. owner .. ':shortest' end
local function may_go_first(owner, rank, cost)
  local urgency = math.floor((rank - 1) / TURNS_EACH)
  redis.call('ZADD', shortest_of(owner), urgency * COST_END + math.min(cost, COST_END - 1), ID)
end

-- A job that has given its turn to others (give-way.lua) waits no more.
local function leave_parked(record, owner, rank, taken)
  redis.call('HDEL', record, 'parked')
  redis.call('ZREM', shortest_of(owner), ID)
  count_waiting(owner, -1)
  leave_turn(owner, rank, taken)
end

local function enter(record, status)
  local fields = redis.call('HMGET', record, 'owner', 'sequence', 'status', 'rank', 'cost')
  local owner, sequence, before, rank, cost = unpack(fields)
  if before == status then return end
  if before then
    redis.call('ZREM', LISTS .. before, ID)
    redis.call('ZREM', LISTS .. 'of:' .. owner .. ':' .. before, ID)
    if before == 'queued' then
      redis.call('ZREM', shortest_of(owner), ID)
      count_waiting(owner, -1)
      leave_turn(owner, rank, status == 'processing')
    end
  end
  if status == 'queued' then
    count_waiting(owner, 1)
    if cost then may_go_first(owner, rank, tonumber(cost)) end
  end
  redis.call('HSET', record, 'status', status)
  redis.call('ZADD', LISTS .. 'of:' .. owner .. ':' .. status, sequence, ID)
  local list = (status == 'queued' or status == 'processing') and status or 'ended'
  redis.call('ZADD', LISTS .. list, NOW, ID)
end

local function finish(record, status)
  enter(record, status)
  redis.call('HSET', record, 'ended_at', AT)
  redis.call('DEL', STATE .. ID, PREVIEWS .. ID)
  local name = redis.call('HGET', record, 'name')
  local names = LISTS .. 'names'
  if name and redis.call('HGET', names, name) == ID then redis.call('HDEL', names, name) end
  redis.call('HINCRBY', LISTS .. 'outcomes', status, 1)
  announce(record, status)
  tell(record, '4-0', status)
  redis.call('PUBLISH', ENDED_CHANNEL, ID)
end
