-- Says that files are about to be kept for a job that is not accepted yet.
-- KEYS: the orphaned, the set of the job's images, then for each of these the set of the jobs that keep it. ARGV: id, ms from now on after
-- which the files are orphaned, hashes of the images.
-- Returns one member of each of the latter sets, '' where there is none.
--- @include "../../redis/lua/now.lua"
redis.call('ZADD', KEYS[1], NOW + ARGV[2], ARGV[1])
if #ARGV > 2 then redis.call('SADD', KEYS[2], unpack(ARGV, 3)) end
local members = {}
for i = 3, #KEYS do members[i - 2] = redis.call('SRANDMEMBER', KEYS[i]) or '' end
return members
