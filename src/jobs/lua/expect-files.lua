-- Says that files are about to be kept for a job that is not accepted yet.
-- KEYS: the orphaned, then sets of jobs. ARGV: id, ms from now on after which the files are orphaned.
-- Returns one member of each of these sets, '' where there is none.
--- @include "../../redis/lua/now.lua"
redis.call('ZADD', KEYS[1], NOW + ARGV[2], ARGV[1])
local members = {}
for i = 2, #KEYS do members[i - 1] = redis.call('SRANDMEMBER', KEYS[i]) or '' end
return members
