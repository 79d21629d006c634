-- The state of one scope (a provider or a model) and its operations. The rate of requests and the rate of tokens are
-- token buckets in the form of GCRA; see llmcore/calls/bucket.py. All times are microseconds of the server's clock.
--
-- Keys of a scope, with the hash tag {provider}:
--   state    hash    l: time of the last change, r, t: when the bucket of requests, of tokens is full again,
--                    n: last ticket, a: ticket of the last take that found the tokens full, s: lowest debts (see push),
--                    q: sum of the tokens of waiting calls
--   slots    zset    id of a call -> end of its lease
--   queue    zset    "id tokens" of a waiting call -> time of its arrival
--   absent   zset    "id tokens" of a waiting call -> time at which it counts as gone
-- Keys of a provider:
--   processes zset   process -> time at which it counts as dead
--   missing   string after a loss of data: the number of processes that must report before slots are granted, and the time at
--                    which the leases of all lost slots have ended
local EPOCH = 1700000000 -- keeps the microseconds exact in a double
local GRAIN = 16
local GRACE = 1500000

local function get_time()
  local time = redis.call('TIME')
  return (time[1] - EPOCH) * 1000000 + time[2]
end

-- Records a loss of data if `process` is unknown here, although it has reported before. `known` is the number of processes in the answer
-- to its last report; 0 if it has not reported.
local function find_loss(processes, missing, process, known, now, lease)
  if known > 0 and not redis.call('ZSCORE', processes, process) then
    local wanted, ends = string.match(redis.call('GET', missing) or '', '(%d+) (%d+)')
    wanted = string.format('%.0f %.0f', math.max(known, tonumber(wanted) or 0), tonumber(ends) or now + lease)
    redis.call('SET', missing, wanted, 'PX', math.ceil(lease / 1000) + 60000)
  end
end

-- Returns whether calls that are unknown here may have slots.
local function lacks_slots(processes, missing, now)
  local wanted, ends = string.match(redis.call('GET', missing) or '', '(%d+) (%d+)')
  if not wanted then return false end
  if now < tonumber(ends) and redis.call('ZCOUNT', processes, now, '+inf') < tonumber(wanted) then return true end
  redis.call('DEL', missing)
  return false
end

local function text(number) return string.format('%.3f', number) end

local function load(state, now)
  local v = redis.call('HMGET', state, 'l', 'r', 't', 'n', 'a', 's', 'q')
  local back = math.max(0, (tonumber(v[1]) or now) - now) -- the clock was set back: after a failover, for example
  return {
    key = state, back = back, lost = not v[1],
    r = (tonumber(v[2]) or 0) - back, t = (tonumber(v[3]) or 0) - back,
    n = tonumber(v[4]) or 0,
    a = tonumber(v[5]) or now, -- without a state, tickets from before it are not refunded
    s = v[6] or '', q = tonumber(v[7]) or 0,
  }
end

local function save(scope, now)
  redis.call('HSET', scope.key, 'l', text(now), 'r', text(scope.r), 't', text(scope.t), 'n', text(scope.n),
    'a', text(scope.a), 's', scope.s, 'q', text(scope.q))
  local full = math.max(scope.r, scope.t, now)
  redis.call('PEXPIRE', scope.key, math.ceil((full - now) / 1000) + 60000)
end

local function parse(scope)
  local tickets, debts, at = {}, {}, 0
  for word in string.gmatch(scope.s, '%S+') do
    at = at + 1
    if at % 2 == 1 then tickets[(at + 1) / 2] = tonumber(word) else debts[at / 2] = tonumber(word) end
  end
  return tickets, debts
end

local function format(tickets, debts)
  local words = {}
  for index = 1, #tickets do
    words[#words + 1] = string.format('%.0f %.3f', tickets[index], debts[index])
  end
  return table.concat(words, ' ')
end

-- Records that `ticket` found the bucket of tokens with `debt`. A later refund is at most the lowest debt that a younger
-- ticket found. Debts that differ little are merged to the lower one: a refund may then be too low.
local function push(scope, ticket, debt, burst)
  local tickets, debts = parse(scope)
  while #debts > 0 and debts[#debts] >= debt do
    table.remove(tickets)
    table.remove(debts)
  end
  if #debts > 0 and debt - debts[#debts] < math.max(burst, debt) / GRAIN then
    tickets[#tickets] = ticket
  else
    tickets[#tickets + 1] = ticket
    debts[#debts + 1] = debt
  end
  scope.s = format(tickets, debts)
end

local function take_tokens(scope, ticket, cost, burst, now)
  scope.n = ticket
  local debt = scope.t - now
  if debt <= 0 then
    scope.t, scope.a, scope.s = now + cost, ticket, ''
  else
    push(scope, ticket, debt, burst)
    scope.t = scope.t + cost
  end
end

local function refund_tokens(scope, ticket, amount)
  if ticket < scope.a or ticket > scope.n then return end
  if ticket == scope.n then
    scope.t = scope.t - amount
    return
  end
  local tickets, debts = parse(scope)
  local after = 1
  while after <= #tickets and tickets[after] <= ticket do after = after + 1 end
  if after <= #debts then
    amount = math.min(amount, debts[after])
    for index = after, #debts do debts[index] = debts[index] - amount end
    while after > 1 and debts[after - 1] >= debts[after] do
      after = after - 1
      table.remove(tickets, after)
      table.remove(debts, after)
    end
    scope.s = format(tickets, debts)
  end
  scope.t = scope.t - amount
end

local function leave_queue(scope, queue, absent, member, tokens)
  if redis.call('ZREM', queue, member) == 1 then
    redis.call('ZREM', absent, member)
    scope.q = math.max(0, scope.q - tokens)
    return true
  end
  return false
end
