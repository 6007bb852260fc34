-- count_files(owner, bytes) counts files of an owner's jobs, of all kinds; fewer than 0 = they are gone.
local function count_files(owner, bytes)
  if bytes + 0 == 0 then return end
  redis.pcall('HINCRBY', FILES, 'of:' .. owner, bytes)
  redis.pcall('HINCRBY', FILES, 'all', bytes)
end
