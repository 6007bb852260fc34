-- Keeps what a takeover goes on from. KEYS: record, state. ARGV: attempt, step, bytes.
if redis.call('HGET', KEYS[1], 'attempt') ~= ARGV[1] or redis.call('HGET', KEYS[1], 'status') ~= 'processing' then
  return 0
end
redis.call('HSET', KEYS[1], 'saved_step', ARGV[2])
redis.call('SET', KEYS[2], ARGV[3])
return 1
