-- Replaces a signing secret. KEYS: current, previous. ARGV: the new secret, how long the old one goes on signing, in s.
local old = redis.call('GET', KEYS[1])
if old then redis.call('SET', KEYS[2], old, 'EX', ARGV[2]) end
redis.call('SET', KEYS[1], ARGV[1])
