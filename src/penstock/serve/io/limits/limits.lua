-- Decides a batch of requests, each by all of its scopes or by none, and corrects what earlier ones reserved.
-- The arithmetic and its order are those of serve/flow/gcra.py; a test holds them to the same verdicts.
--
-- KEYS[1]  prefix of all keys, with a hash tag: they lie in one slot
-- ARGV[1]  MessagePack: {gateway, month, seconds left of it, scopes, asks, settles, merges}
--   scope  {{id, limit and burst of requests, tokens, input, output (-1: none), concurrent, tokens and cost a month},
--           requests of this gateway that run}
--   ask    {places of its scopes, input tokens, output tokens, cost}
--   settle {places of its scopes, change of requests, input, output, cost, month}
--   merge  {place of the scope, known levels, known used, seconds since the known minute began (-1: none),
--           levels to add, used to add, seconds since their minute began, known month, month to add}
-- ARGV[2]  microseconds to take as the time; empty: Redis's own clock
-- Answer: MessagePack {verdicts, states}; a verdict is 0 or {place of the scope, place of the limit, seconds (-1: never)}

local WINDOW, SLACK, CONCURRENT_RETRY = 60, 1e-9, 1
local MONTH_TTL, RUNNING_TTL = 40 * 86400, 86400
local prefix = KEYS[1]
local m = cmsgpack.unpack(ARGV[1])
local gateway, month, month_left = m[1], m[2], m[3]
local now
if ARGV[2] ~= '' then
  now = tonumber(ARGV[2])
else
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end

local scopes = {}
for place, row in ipairs(m[4]) do
  local d = row[1]
  local s = { id = d[1], d = d, own = row[2], f = { 0, 0, 0, 0 }, u = { 0, 0, 0, 0 }, since = 0,
              tokens = 0, cost = 0, add_tokens = 0, add_cost = 0, others = 0 }
  local kept = redis.call('GET', prefix .. ':s:' .. s.id)
  if kept then
    local at
    at, s.since, s.f[1], s.f[2], s.f[3], s.f[4], s.u[1], s.u[2], s.u[3], s.u[4] = struct.unpack('dddddddddd', kept)
    local elapsed = (now - at) / 1e6
    if elapsed > 0 then
      for i = 1, 4 do
        local limit = d[2 * i]
        if limit >= 0 and s.f[i] > 0 then
          s.f[i] = math.max(0, s.f[i] - elapsed * (limit / WINDOW))
        end
      end
    end
  end
  if d[11] >= 0 or d[12] >= 0 then
    local used = redis.call('HMGET', prefix .. ':m:' .. month .. ':' .. s.id, 't', 'c')
    s.tokens, s.cost = tonumber(used[1]) or 0, tonumber(used[2]) or 0
  end
  if d[10] >= 0 then
    local running = redis.call('HGETALL', prefix .. ':c:' .. s.id)
    for i = 1, #running, 2 do
      if running[i] ~= gateway then
        local lives = redis.call('ZSCORE', prefix .. ':gateways', running[i])
        if lives and tonumber(lives) > now then
          s.others = s.others + tonumber(running[i + 1])
        else
          redis.call('HDEL', prefix .. ':c:' .. s.id, running[i])
        end
      end
    end
  end
  scopes[place] = s
end

local function age(s)
  return (now - s.since) / 1e6
end

for _, g in ipairs(m[7]) do
  local s = scopes[g[1]]
  s.dirty = true
  if g[4] >= 0 and g[4] < WINDOW then
    if age(s) >= WINDOW then
      s.since = now - g[4] * 1e6
      s.u = { 0, 0, 0, 0 }
    end
    for i = 1, 4 do s.u[i] = math.max(s.u[i], g[3][i]) end
  end
  for i = 1, 4 do s.f[i] = math.max(s.f[i], g[2][i]) + g[5][i] end
  if g[7] >= 0 and g[7] < WINDOW then
    if age(s) >= WINDOW then
      s.since = now - g[7] * 1e6
      s.u = { 0, 0, 0, 0 }
    end
    for i = 1, 4 do s.u[i] = s.u[i] + g[6][i] end
  end
  s.add_tokens = s.add_tokens + math.max(0, g[8][1] - s.tokens) + g[9][1]
  s.add_cost = s.add_cost + math.max(0, g[8][2] - s.cost) + g[9][2]
end

for _, g in ipairs(m[6]) do
  local deltas = { g[2], g[3] + g[4], g[3], g[4] }
  for _, place in ipairs(g[1]) do
    local s = scopes[place]
    s.dirty = true
    for i = 1, 4 do
      if s.d[2 * i] >= 0 then
        s.f[i] = math.max(0, s.f[i] + deltas[i])
        s.u[i] = math.max(0, s.u[i] + deltas[i])
      end
    end
    if g[6] == month then
      s.add_tokens = s.add_tokens + deltas[2]
      s.add_cost = s.add_cost + g[5]
    elseif s.d[11] >= 0 or s.d[12] >= 0 then
      redis.call('HINCRBY', prefix .. ':m:' .. g[6] .. ':' .. s.id, 't', deltas[2])
      redis.call('HINCRBY', prefix .. ':m:' .. g[6] .. ':' .. s.id, 'c', g[5])
    end
  end
end

local function wait(s, amounts, cost)
  local worst, which = 0, 0
  local left = WINDOW - age(s)
  for i = 1, 4 do
    local limit, burst, amount = s.d[2 * i], s.d[2 * i + 1], amounts[i]
    if limit >= 0 then
      if amount > limit or limit == 0 then
        worst, which = math.huge, i
      elseif worst < math.huge then
        local rate = limit / WINDOW
        local lacks = math.min(amount, burst) - burst + s.f[i]
        if lacks > limit * SLACK and lacks / rate > worst then worst, which = lacks / rate, i end
        if left > worst and s.u[i] + amount > limit then worst, which = left, i end
      end
    end
  end
  local most = s.d[10]
  if most >= 0 and s.own + s.others >= most then
    local seconds = most > 0 and CONCURRENT_RETRY or math.huge
    if seconds > worst then worst, which = seconds, 5 end
  end
  local budgets = { { s.d[11], s.tokens + s.add_tokens, amounts[2] }, { s.d[12], s.cost + s.add_cost, cost } }
  for i, b in ipairs(budgets) do
    if b[1] >= 0 and (b[1] == 0 or (b[3] > 0 and b[2] + b[3] > b[1])) then
      local seconds = (b[3] > b[1] or b[1] == 0) and math.huge or month_left
      if seconds > worst then worst, which = seconds, 5 + i end
    end
  end
  return worst, which
end

local verdicts = {}
for n, ask in ipairs(m[5]) do
  local amounts = { 1, ask[2] + ask[3], ask[2], ask[3] }
  local worst, which, whose = 0, 0, 0
  for _, place in ipairs(ask[1]) do
    local seconds, limit = wait(scopes[place], amounts, ask[4])
    if seconds > worst then worst, which, whose = seconds, limit, place end
  end
  if whose > 0 then
    verdicts[n] = { whose, which, worst == math.huge and -1 or worst }
  else
    verdicts[n] = 0
    for _, place in ipairs(ask[1]) do
      local s = scopes[place]
      s.dirty = true
      if age(s) >= WINDOW then
        s.since = now
        s.u = { 0, 0, 0, 0 }
      end
      for i = 1, 4 do
        if s.d[2 * i] >= 0 then
          s.f[i] = s.f[i] + amounts[i]
          s.u[i] = s.u[i] + amounts[i]
        end
      end
      s.own = s.own + 1
      s.add_tokens = s.add_tokens + amounts[2]
      s.add_cost = s.add_cost + ask[4]
    end
  end
end

local states = {}
for place, s in ipairs(scopes) do
  local d = s.d
  if s.dirty then
    local seconds = math.max(0, WINDOW - age(s))
    for i = 1, 4 do
      if d[2 * i] > 0 then seconds = math.max(seconds, s.f[i] * WINDOW / d[2 * i]) end
    end
    if d[2] >= 0 or d[4] >= 0 or d[6] >= 0 or d[8] >= 0 then
      redis.call('SET', prefix .. ':s:' .. s.id, struct.pack('dddddddddd', now, s.since, s.f[1], s.f[2], s.f[3], s.f[4],
        s.u[1], s.u[2], s.u[3], s.u[4]), 'PX', math.ceil(seconds * 1000) + 1000)
    end
    if (d[11] >= 0 or d[12] >= 0) and (s.add_tokens ~= 0 or s.add_cost ~= 0) then
      local key = prefix .. ':m:' .. month .. ':' .. s.id
      redis.call('HINCRBY', key, 't', s.add_tokens)
      redis.call('HINCRBY', key, 'c', s.add_cost)
      redis.call('EXPIRE', key, MONTH_TTL)
    end
    if d[10] >= 0 then
      local key = prefix .. ':c:' .. s.id
      if s.own > 0 then
        redis.call('HSET', key, gateway, s.own)
        redis.call('EXPIRE', key, RUNNING_TTL)
      else
        redis.call('HDEL', key, gateway)
      end
    end
  end
  local since = s.since > 0 and age(s) or -1
  states[place] = { s.f[1], s.f[2], s.f[3], s.f[4], s.u[1], s.u[2], s.u[3], s.u[4], since,
                    s.tokens + s.add_tokens, s.cost + s.add_cost }
end
return cmsgpack.pack({ verdicts, states })
