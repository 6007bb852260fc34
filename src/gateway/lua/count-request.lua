-- Counts a request in a window. KEYS: counter. ARGV: the window in ms. Returns the count and the ms until it begins again.
local current = redis.call('INCR', KEYS[1])
if current == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return {current, redis.call('PTTL', KEYS[1])}
