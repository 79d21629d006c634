-- Records that a process is alive, renews its slots, and adds the use that the store does not know.
-- KEYS: processes, missing; state, slots for each scope.
-- ARGV: process, lease (0: it leaves), processes that it knows; for each scope: lowest debts of requests and of tokens, spent time of requests and of
--       tokens, burst of requests and of tokens, number of ids, ids.
-- Returns the number of living processes.
local now = get_time()
local lease = tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if lease > 0 then
  find_loss(KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[3]), now, lease)
  redis.call('ZADD', KEYS[1], now + lease, ARGV[1])
  redis.call('PEXPIRE', KEYS[1], math.ceil(lease / 1000) + 60000)
else
  redis.call('ZREM', KEYS[1], ARGV[1])
end
local arg = 4
for at = 3, #KEYS, 2 do
  local debt_r, debt_t, spent_r, spent_t = tonumber(ARGV[arg]), tonumber(ARGV[arg + 1]), tonumber(ARGV[arg + 2]), tonumber(ARGV[arg + 3])
  local burst_r, burst, count = tonumber(ARGV[arg + 4]), tonumber(ARGV[arg + 5]), tonumber(ARGV[arg + 6])
  if debt_r + debt_t + spent_r + spent_t > 0 then
    local scope = load(KEYS[at], now)
    if scope.lost then debt_r, debt_t = math.max(debt_r, burst_r), math.max(debt_t, burst) end
    local add_r = spent_r + math.max(0, debt_r - math.max(0, scope.r - now))
    local add_t = spent_t + math.max(0, debt_t - math.max(0, scope.t - now))
    scope.r = math.max(scope.r, now) + add_r
    if add_t > 0 then take_tokens(scope, math.max(now, scope.n + 1), add_t, burst, now) end
    save(scope, now)
  end
  for index = arg + 7, arg + 6 + count do
    redis.call('ZADD', KEYS[at + 1], now + lease, ARGV[index])
  end
  if count > 0 then redis.call('PEXPIRE', KEYS[at + 1], math.ceil(lease / 1000) + 60000) end
  arg = arg + 7 + count
end
return math.max(1, redis.call('ZCARD', KEYS[1]))
