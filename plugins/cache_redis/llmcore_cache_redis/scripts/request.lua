-- Grants a permit from all scopes, or from none.
-- KEYS: processes, missing; state, slots, queue, absent for each scope.
-- ARGV: id, tokens, arrived (0 at first), patience, lease, process, processes that it knows; for each scope: cost of a request, its burst, cost of a token,
--       its burst, slots, debts of requests and of tokens that the process knows (-1: it does not know this scope). A cost of 0, or 0
--       slots: no limit.
-- Returns {1, ticket, debts of requests and of tokens for each scope} or {0, wait or -1, pause, arrived, 1 if the process should report its slots}.
local now = get_time()
local id, tokens, arrived = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local patience, lease = tonumber(ARGV[4]), tonumber(ARGV[5])
local member = id .. ' ' .. tokens
local scopes, blocked, wait, lacks = {}, nil, 0, nil

for index = 1, (#KEYS - 2) / 4 do
  local at, arg = index * 4 - 2, index * 7
  local scope = load(KEYS[at + 1], now)
  scope.slots, scope.queue, scope.absent = KEYS[at + 2], KEYS[at + 3], KEYS[at + 4]
  scope.request, scope.request_burst = tonumber(ARGV[arg + 1]), tonumber(ARGV[arg + 2])
  scope.token, scope.token_burst, scope.limit = tonumber(ARGV[arg + 3]), tonumber(ARGV[arg + 4]), tonumber(ARGV[arg + 5])
  local debt_r, debt_t = tonumber(ARGV[arg + 6]), tonumber(ARGV[arg + 7])
  if scope.lost and debt_r >= 0 then -- others may have used more than this process knows, so the buckets are empty
    scope.r, scope.t = now + math.max(debt_r, scope.request_burst), now + math.max(debt_t, scope.token_burst)
    scope.changed = true
  end
  scope.changed = scope.changed or scope.back > 0
  scopes[index] = scope

  local ahead, ahead_tokens = redis.call('ZCARD', scope.queue), 0
  if ahead > 0 then
    for _, gone in ipairs(redis.call('ZRANGEBYSCORE', scope.absent, '-inf', now, 'LIMIT', 0, 100)) do
      leave_queue(scope, scope.queue, scope.absent, gone, tonumber(string.match(gone, '%S+$')))
      scope.changed = true
    end
    local all = redis.call('ZCARD', scope.queue)
    ahead = arrived > 0 and redis.call('ZCOUNT', scope.queue, '-inf', '(' .. string.format('%.0f', arrived)) or all
    ahead_tokens = all > 0 and scope.q * ahead / all or 0
  end

  local full = false
  if scope.limit > 0 then
    if scope.back > 0 then -- leases that would end too late by the new clock
      for _, held in ipairs(redis.call('ZRANGEBYSCORE', scope.slots, now + lease, '+inf')) do
        redis.call('ZADD', scope.slots, now + lease, held)
      end
    end
    redis.call('ZREMRANGEBYSCORE', scope.slots, '-inf', now)
    if lacks == nil then
      find_loss(KEYS[1], KEYS[2], ARGV[6], tonumber(ARGV[7]), now, lease)
      lacks = lacks_slots(KEYS[1], KEYS[2], now)
    end
    full = lacks or redis.call('ZCARD', scope.slots) >= scope.limit
  end

  local function wait_for(full_at, cost, burst, before)
    if cost >= burst then cost = burst end
    local ready = full_at + cost - burst - now
    if before > 0 then ready = math.max(ready, cost - burst) + before end
    return ready
  end
  local here = 0
  if scope.request > 0 then
    here = math.max(here, wait_for(scope.r, scope.request, scope.request_burst, ahead * scope.request))
  end
  if scope.token > 0 then
    here = math.max(here, wait_for(scope.t, scope.token * tokens, scope.token_burst, ahead_tokens * scope.token))
  end
  wait = math.max(wait, here)
  if not blocked and (full or ahead > 0 or here > 0) then
    blocked = scope
    scope.ahead, scope.here, scope.full = ahead, here, full
  end
end

local ticket = now
if blocked then
  local leaves = wait > patience
  for _, scope in ipairs(scopes) do
    if arrived > 0 and (leaves or scope ~= blocked) then
      scope.changed = leave_queue(scope, scope.queue, scope.absent, member, tokens) or scope.changed
    end
  end
  local pause = blocked.here
  if pause <= 0 then
    local step, cost = 50000, math.max(blocked.request, blocked.token * tokens)
    if not blocked.full and cost > 0 then -- the calls ahead may be sent at once: let the queue advance at twice the rate
      step = math.max(1000, math.min(step, cost / 2))
    end
    pause = math.min(step * (1 + blocked.ahead), 1000000)
  elseif pause > 100000 then
    pause = math.min(pause / 2, 10000000) -- refunds may have made it earlier
  end
  if arrived == 0 then arrived = now end
  if not leaves then
    if redis.call('ZADD', blocked.queue, arrived, member) == 1 then
      blocked.q = blocked.q + tokens
    end
    redis.call('ZADD', blocked.absent, now + pause + GRACE, member)
    redis.call('PEXPIRE', blocked.queue, 60000)
    redis.call('PEXPIRE', blocked.absent, 60000)
    blocked.changed = true
  end
  for _, scope in ipairs(scopes) do
    if scope.changed then save(scope, now) end
  end
  return {0, wait > 0 and math.ceil(wait) or -1, math.ceil(pause), arrived,
    lacks and not redis.call('ZSCORE', KEYS[1], ARGV[6]) and 1 or 0}
end

for _, scope in ipairs(scopes) do ticket = math.max(ticket, scope.n + 1) end
local answer = {1, ticket}
for _, scope in ipairs(scopes) do
  if arrived > 0 then leave_queue(scope, scope.queue, scope.absent, member, tokens) end
  if scope.request > 0 then scope.r = math.max(scope.r, now) + scope.request end
  if scope.token > 0 then take_tokens(scope, ticket, scope.token * tokens, scope.token_burst, now) end
  scope.n = ticket
  save(scope, now)
  if scope.limit > 0 then
    redis.call('ZADD', scope.slots, now + lease, id)
    redis.call('PEXPIRE', scope.slots, math.ceil(lease / 1000) + 60000)
  end
  answer[#answer + 1] = math.max(0, math.ceil(scope.r - now))
  answer[#answer + 1] = math.max(0, math.ceil(scope.t - now))
end
return answer
