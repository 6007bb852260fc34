-- Which of those that wait one that runs gives way to: a more urgent one, or one as urgent and at most half as long as what
-- is left of it. Owners take turns at that, whoever waited longest since the last one, so that nobody's many short ones keep
-- another's back; of an owner's the shortest goes first. No second worker gives way to the same one for a time.
-- KEYS: record of the one that runs. ARGV: what is left of it, '1' = only to more urgent ones, that time in ms.
-- Returns the id, its cost, and 1 when it is more urgent, else 0; or false.
--- @include "change.lua"
local left, urgent_only, giving_ms = tonumber(ARGV[1]), ARGV[2] == '1', ARGV[3]
local WENT_FIRST = LISTS .. 'went-first'
-- So many of an owner's are looked at: as many workers may give way to them at a time.
local LOOKED_AT = 8
local priority = math.floor((redis.call('HGET', KEYS[1], 'rank') - 1) / TURNS_EACH)

local function first_of(owner)
  local list = shortest_of(owner)
  local found = redis.call('ZRANGE', list, 0, LOOKED_AT - 1, 'WITHSCORES')
  for i = 1, #found, 2 do
    local id, urgency, cost = found[i], math.floor(found[i + 1] / COST_END), found[i + 1] % COST_END
    if urgency > priority or (urgency == priority and (urgent_only or 2 * cost > left)) then return nil end
    local status, parked = unpack(redis.call('HMGET', KIND .. ':' .. id, 'status', 'parked'))
    if status ~= 'queued' and not parked then
      redis.call('ZREM', list, id) -- taken by a worker of an earlier release
    elseif redis.call('EXISTS', GIVING .. id) == 0 then
      local last = tonumber(redis.call('ZSCORE', WENT_FIRST, owner) or 0)
      return { id = id, urgency = urgency, cost = cost, last = last, owner = owner }
    end
  end
end

local function goes_before(one, other)
  if one.urgency ~= other.urgency then return one.urgency < other.urgency end
  if one.last ~= other.last then return one.last < other.last end
  return one.cost < other.cost
end

local best
for _, owner in ipairs(redis.call('HKEYS', LISTS .. 'waiting')) do
  local one = first_of(owner)
  if one and (not best or goes_before(one, best)) then best = one end
end
if not best then return false end
redis.call('SET', GIVING .. best.id, 1, 'PX', giving_ms)
redis.call('ZADD', WENT_FIRST, NOW, best.owner)
redis.call('PEXPIRE', WENT_FIRST, 3600000) -- who has waited longer than that is first anyhow
return { best.id, best.cost, best.urgency < priority and 1 or 0 }
