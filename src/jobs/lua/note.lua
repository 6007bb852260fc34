-- Sets a field of a running job's record. KEYS: record. ARGV: attempt, field, value as JSON.
if redis.call('HGET', KEYS[1], 'attempt') ~= ARGV[1] or redis.call('HGET', KEYS[1], 'status') ~= 'processing' then
  return 0
end
return redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
