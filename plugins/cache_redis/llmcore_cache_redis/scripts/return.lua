-- Ends a permit, or removes a waiting call from the queue.
-- KEYS: state, slots, queue, absent for each scope.
-- A scope without a state is not changed: a new state would hide the loss of data from the next request.
-- ARGV: id, tokens, ticket (0: no permit), unused tokens (negative: used more); for each scope: cost of a token, its burst.
local now = get_time()
local id, tokens, ticket, unused = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
for index = 1, #KEYS / 4 do
  local at, token, burst = index * 4 - 4, tonumber(ARGV[index * 2 + 3]), tonumber(ARGV[index * 2 + 4])
  local scope = load(KEYS[at + 1], now)
  local changed = false
  if ticket == 0 then
    changed = leave_queue(scope, KEYS[at + 3], KEYS[at + 4], id .. ' ' .. tokens, tokens)
  elseif token > 0 and unused ~= 0 and not scope.lost then
    if unused > 0 then
      refund_tokens(scope, ticket, unused * token)
    else
      take_tokens(scope, math.max(now, scope.n + 1), -unused * token, burst, now)
    end
    changed = true
  end
  if changed then save(scope, now) end
  redis.call('ZREM', KEYS[at + 2], id)
end
return 1
