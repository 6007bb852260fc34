-- Sets the warnings of a running job. KEYS: record. ARGV: attempt, warnings as JSON.
if redis.call('HGET', KEYS[1], 'attempt') ~= ARGV[1] or redis.call('HGET', KEYS[1], 'status') ~= 'processing' then
  return 0
end
return redis.call('HSET', KEYS[1], 'warnings', ARGV[2])
