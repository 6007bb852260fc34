/**
 * Whose turn it is: in which order waiting generations are taken. The request's `priority` comes first. Within one
 * priority the owners take turns, so that whoever has a thousand waiting keeps nobody with a single one waiting.
 *
 * This is start-time fair queueing (Goyal, Vin and Cheng, 1996) with all generations counted alike: each gets as its turn
 * the one after its owner's latest, or the one that was taken last if that is later; the lowest is taken first, and of
 * the same turn the one that came first. So each owner's own generations keep their order, and nobody's wait for ever.
 */

/** How many turns one of the ten priorities has: together they fill BullMQ's priorities, which end at 2^21. */
const TURNS = 200_000;

/**
 * Lua for src/record.ts, whose KIND it reads: `give_turn(owner, priority)` returns the rank of a new job, which is the
 * priority of its BullMQ job (lower = sooner); `take_turn(rank)` is for when it is no longer waiting. Turns begin again
 * whenever nobody waits; should a priority use all of its turns before that, the rest of it is taken in the order of arrival.
 */
export const FAIR = `
local TURNS = KIND == 'generation' and 'turns' or KIND .. 's:turns'
local function give_turn(owner, priority)
  local lane = priority .. ':' .. owner
  local taken, last = unpack(redis.call('HMGET', TURNS, priority, lane))
  local turn = math.min(math.max(tonumber(taken or 0), tonumber(last or -1) + 1), ${TURNS - 1})
  redis.call('HSET', TURNS, lane, turn)
  return 1 + priority * ${TURNS} + turn
end
local function take_turn(rank)
  local priority, turn = math.floor((rank - 1) / ${TURNS}), (rank - 1) % ${TURNS}
  if turn > tonumber(redis.call('HGET', TURNS, priority) or 0) then redis.call('HSET', TURNS, priority, turn) end
  if redis.call('ZCARD', KIND .. 's:queued') == 0 then redis.call('DEL', TURNS) end
end`;
