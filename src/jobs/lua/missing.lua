-- KEYS: any. Returns the places (from 1) of those that are not there.
local missing = {}
for place, key in ipairs(KEYS) do
  if redis.call('EXISTS', key) == 0 then table.insert(missing, place) end
end
return missing
