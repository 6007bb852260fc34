-- A step is done. KEYS: record. ARGV: attempt, step, total, preview ('' = none), how many of what follows goes into the
-- record, these fields and values, then those of the event (none = no event). Returns 0 when the worker must stop. Previews
-- are kept beside the events: they go at the job's end, and the events stay.
--- @include "change.lua"
local record = KEYS[1]
local attempt, step, total, preview, kept = unpack(ARGV)
local latest, status, cancel = unpack(redis.call('HMGET', record, 'attempt', 'status', 'cancel_requested'))
if latest ~= attempt or status ~= 'processing' then return 0 end
redis.call('HSET', record, 'step', step, 'total', total, unpack(ARGV, 6, 5 + kept))
if preview ~= '' then redis.call('HSET', PREVIEWS .. ID, step, preview) end
local told = {unpack(ARGV, 6 + kept)}
if #told > 0 then
  redis.pcall('XADD', EVENTS .. ID, '3-' .. step, 'event', 'progress', unpack(told))
  redis.call('PUBLISH', EVENT_CHANNEL, ID)
end
return cancel and 0 or 1
