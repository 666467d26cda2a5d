-- Tells that a gateway lives, and who else does; and what it says of its tenants' shares, and what all said in the last
-- round. Rounds are Redis's time, so that all take the same words together.
--
-- KEYS[1]  prefix of all keys
-- ARGV[1]  the gateway; ARGV[2]: milliseconds for which it is believed; 0: it leaves
-- ARGV[3]  what it says, '' for nothing: the first in a round counts; ARGV[4]: milliseconds of a round
-- Answer: {1 where it was not known, its place among those that live from 0 (-1: left), how many live,
--          the last round that is over, {gateway, what it said in that, ...}}

local key = KEYS[1] .. ':gateways'
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now))
local is_new = redis.call('ZSCORE', key, ARGV[1]) and 0 or 1
local live_ms = tonumber(ARGV[2])
if live_ms > 0 then
  redis.call('ZADD', key, string.format('%.0f', now + live_ms * 1000), ARGV[1])
  redis.call('PEXPIRE', key, live_ms * 2)
else
  redis.call('ZREM', key, ARGV[1])
end
local ids = redis.call('ZRANGE', key, 0, -1)
table.sort(ids)
local place = -1
for i, id in ipairs(ids) do
  if id == ARGV[1] then place = i - 1 end
end
local round_ms = tonumber(ARGV[4])
local round = math.floor(now / (round_ms * 1000))
if live_ms > 0 and ARGV[3] ~= '' then
  local said = KEYS[1] .. ':said:' .. string.format('%.0f', round)
  redis.call('HSETNX', said, ARGV[1], ARGV[3])
  redis.call('PEXPIRE', said, round_ms * 4)
end
local words = redis.call('HGETALL', KEYS[1] .. ':said:' .. string.format('%.0f', round - 1))
return { is_new, place, #ids, round - 1, words }
