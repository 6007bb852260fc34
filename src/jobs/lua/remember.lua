-- remember(owner, key) counts an Idempotency-Key that has just been written among its owner's: of each owner so many are
-- kept, and those that were written first go first. Reads NOW.
local function remember(owner, key)
  local all = IDEMPOTENCY_OF .. owner
  redis.call('ZADD', all, NOW, key)
  redis.call('PEXPIRE', all, IDEMPOTENCY_SECONDS * 1000)
  while redis.call('ZCARD', all) > MOST_IDEMPOTENCY_KEYS do
    redis.call('DEL', redis.call('ZPOPMIN', all)[1])
  end
end
