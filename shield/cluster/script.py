"""The one function that a node calls in the store, once a round. The store runs it by itself and undivided, so a round
is one command and one answer, whatever is in it.

    KEYS   1 nodes (hash)   2 when each was last there (sorted set)   3 news (stream)   4 the store's own mark
           5... buckets
    ARGV   node, its beat ("": it does not speak), seconds after which a node is forgotten, a mark,
           id of the last news that was read, how many more to read, seconds for which news are kept,
           how many news, news..., for each bucket: paid, asked, most, most asked (seconds)
    gives  microseconds of the store's clock, its mark, [node, beat, ...], [id, value, ...], "paid asked" of each bucket

All keys have the name of the cluster in braces, so in a Valkey or Redis Cluster they are at one node of it. A bucket is
a key with two numbers: when it will be full again, by the store's clock. That is when it expires. The mark is drawn by
whoever finds none: another one says that the store has lost everything.
"""

from __future__ import annotations

from typing import Final

ROUND: Final = """
local t = redis.call('TIME')
local now = tonumber(t[1]) + tonumber(t[2]) / 1000000
local kept = tonumber(ARGV[7])
if ARGV[2] ~= '' then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
  redis.call('ZADD', KEYS[2], string.format('%.6f', now), ARGV[1])
  redis.call('PEXPIRE', KEYS[1], 60000)
  redis.call('PEXPIRE', KEYS[2], 60000)
  local gone = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.6f', now - tonumber(ARGV[3])))
  for _, node in ipairs(gone) do
    redis.call('HDEL', KEYS[1], node)
    redis.call('ZREM', KEYS[2], node)
  end
end
redis.call('SET', KEYS[4], ARGV[4], 'NX')
local mark = redis.call('GET', KEYS[4])
local news = tonumber(ARGV[8])
for i = 1, news do
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', 20000, '*', 'v', ARGV[8 + i])
end
if news > 0 then
  redis.call('XTRIM', KEYS[3], 'MINID', '~', string.format('%d', (now - kept) * 1000))
  redis.call('PEXPIRE', KEYS[3], kept * 1000)
end
local read = {}
if tonumber(ARGV[6]) > 0 then
  for _, entry in ipairs(redis.call('XRANGE', KEYS[3], '(' .. ARGV[5], '+', 'COUNT', ARGV[6])) do
    read[#read + 1] = entry[1]
    read[#read + 1] = entry[2][2]
  end
end
local taken = {}
local at = 8 + news
for i = 5, #KEYS do
  local paid, asked = 0, 0
  local found = redis.call('GET', KEYS[i])
  if found then
    local a, b = string.match(found, '^(%S+) (%S+)$')
    paid, asked = tonumber(a) or 0, tonumber(b) or 0
  end
  paid = math.min(math.max(paid, now) + tonumber(ARGV[at + 1]), now + tonumber(ARGV[at + 3]))
  asked = math.min(math.max(asked, now) + tonumber(ARGV[at + 2]), now + tonumber(ARGV[at + 4]))
  at = at + 4
  local left = math.max(paid, asked) - now
  if left > 0.001 then
    redis.call('SET', KEYS[i], string.format('%.6f %.6f', paid, asked), 'PX', string.format('%d', left * 1000 + 1))
  end
  taken[#taken + 1] = string.format('%.6f %.6f', paid - now, asked - now)
end
return {string.format('%.0f', now * 1000000), mark, redis.call('HGETALL', KEYS[1]), read, taken}
"""

LEAVE: Final = """
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
"""
"""A node goes: KEYS as above, 1 and 2; ARGV its name."""
