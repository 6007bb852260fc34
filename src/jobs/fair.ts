/**
 * Whose turn it is: in which order waiting generations are taken. The request's `priority` comes first. Within one
 * priority the owners take turns, so that whoever has a thousand waiting keeps nobody with a single one waiting.
 *
 * This is start-time fair queueing (Goyal, Vin and Cheng, 1996) with all generations counted alike: each gets as its turn
 * the one after its owner's latest, or the one that was taken last if that is later; the lowest is taken first, and of
 * the same turn the one that came first. So each owner's own generations keep their order, and nobody's wait for ever.
 * A latest one that ends before it was taken (canceled, or out of time) gives its turn back.
 */

/** How many turns one of the ten priorities has: together they fill BullMQ's priorities, which end at 2^21. */
const TURNS = 200_000;

/**
 * Lua for src/jobs/record.ts, whose KIND and ID it reads: `give_turn(owner, priority)` returns the rank of a new job, which is
 * the priority of its BullMQ job (lower = sooner); `leave_turn(owner, rank, taken)` is for when it is no longer waiting,
 * and `taken` says whether a worker has it. Turns begin again whenever nobody waits; should a priority use all of its
 * turns before that, the rest of it is taken in the order of arrival.
 *
 * TURNS is a hash: by priority, the latest turn that was taken. What an owner has waiting in a priority is a sorted set of
 * ids by turn, which Redis drops with its last id. SERVED is a sorted set of those who had the latest turn that was taken,
 * by priority: it is no longer theirs, also when they have nothing waiting. An earlier turn is nobody's any more, so that
 * those who had only one of these need not be known.
 */
export const FAIR = `
local TURNS = KIND == 'generation' and 'turns' or KIND .. 's:turns'
local SERVED = TURNS .. ':served'
local function give_turn(owner, priority)
  local lane = priority .. ':' .. owner
  local waiting = TURNS .. ':' .. lane
  local first = tonumber(redis.call('HGET', TURNS, priority) or 0)
  if redis.call('ZSCORE', SERVED, lane) then first = first + 1 end
  local latest = redis.call('ZRANGE', waiting, -1, -1, 'WITHSCORES')[2] or -1
  local turn = math.min(math.max(first, latest + 1), ${TURNS - 1})
  redis.call('ZADD', waiting, turn, ID)
  return 1 + priority * ${TURNS} + turn
end
local function leave_turn(owner, rank, taken)
  local priority, turn = math.floor((rank - 1) / ${TURNS}), (rank - 1) % ${TURNS}
  local lane = priority .. ':' .. owner
  redis.call('ZREM', TURNS .. ':' .. lane, ID)
  if redis.call('ZCARD', KIND .. 's:queued') == 0 then
    redis.call('DEL', TURNS, SERVED)
  elseif taken then
    local latest = tonumber(redis.call('HGET', TURNS, priority) or 0)
    if turn > latest then
      redis.call('HSET', TURNS, priority, turn)
      redis.call('ZREMRANGEBYSCORE', SERVED, priority, priority)
    end
    if turn >= latest then redis.call('ZADD', SERVED, priority, lane) end
  end
end`;
