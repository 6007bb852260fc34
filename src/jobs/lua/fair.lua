-- Whose turn it is: in which order waiting jobs are taken. The request's `priority` comes first. Within one priority the
-- owners take turns, so that whoever has a thousand waiting keeps nobody with a single one waiting.
--
-- This is start-time fair queueing (Goyal, Vin and Cheng, 1996) with all jobs counted alike: each gets as its turn the one
-- after its owner's latest, or the one that was taken last if that is later; the lowest is taken first, and of the same
-- turn the one that came first. So each owner's own jobs keep their order, and nobody's wait for ever. A latest one that
-- ends before it was taken (canceled, or out of time) gives its turn back.
--
-- Reads KIND and ID. give_turn(owner, priority) returns the rank of a new job, which is the priority of its BullMQ job
-- (lower = sooner); leave_turn(owner, rank, taken) is for when it is no longer waiting, and `taken` says whether a worker
-- has it. Turns begin again whenever nobody waits; should a priority use all of its turns before that, the rest of it is
-- taken in the order of arrival.
--
-- TURNS is a hash: by priority, the latest turn that was taken. What an owner has waiting in a priority is a sorted set of
-- ids by turn, which Redis drops with its last id. SERVED is a sorted set of those who had the latest turn that was taken,
-- by priority: it is no longer theirs, also when they have nothing waiting. An earlier turn is nobody's any more, so that
-- those who had only one of these need not be known.

-- How many turns one of the ten priorities has: together they fill BullMQ's priorities, which end at 2^21.
local TURNS_EACH = 200000
local TURNS = LISTS .. 'turns'
local SERVED = TURNS .. ':served'

local function give_turn(owner, priority)
  local line = priority .. ':' .. owner
  local waiting = TURNS .. ':' .. line
  local first = tonumber(redis.call('HGET', TURNS, priority) or 0)
  if redis.call('ZSCORE', SERVED, line) then first = first + 1 end
  local latest = redis.call('ZRANGE', waiting, -1, -1, 'WITHSCORES')[2] or -1
  local turn = math.min(math.max(first, latest + 1), TURNS_EACH - 1)
  redis.call('ZADD', waiting, turn, ID)
  return 1 + priority * TURNS_EACH + turn
end

-- The rank of a job that goes on where it was: its own turn, or the one that was taken last if that is earlier, as when
-- turns have begun again since it had its own.
local function no_later(rank)
  local priority, turn = math.floor((rank - 1) / TURNS_EACH), (rank - 1) % TURNS_EACH
  return 1 + priority * TURNS_EACH + math.min(turn, tonumber(redis.call('HGET', TURNS, priority) or 0))
end

-- The same of one that waits with it, or goes first. Later turns stay as they are, which newcomers go by.
local function keep_turn(owner, rank)
  local kept = no_later(rank)
  local priority, turn = math.floor((kept - 1) / TURNS_EACH), (kept - 1) % TURNS_EACH
  redis.call('ZADD', TURNS .. ':' .. priority .. ':' .. owner, turn, ID)
  return kept
end

local function leave_turn(owner, rank, taken)
  local priority, turn = math.floor((rank - 1) / TURNS_EACH), (rank - 1) % TURNS_EACH
  local line = priority .. ':' .. owner
  redis.call('ZREM', TURNS .. ':' .. line, ID)
  if redis.call('ZCARD', LISTS .. 'queued') + redis.call('HLEN', LISTS .. 'waiting') == 0 then
    redis.call('DEL', TURNS, SERVED)
  elseif taken then
    local latest = tonumber(redis.call('HGET', TURNS, priority) or 0)
    if turn > latest then
      redis.call('HSET', TURNS, priority, turn)
      redis.call('ZREMRANGEBYSCORE', SERVED, priority, priority)
    end
    if turn >= latest then redis.call('ZADD', SERVED, priority, line) end
  end
end
