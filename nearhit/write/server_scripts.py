"""Scripts: what the log's server does in one step, so that a fill is never in no place and never in two.

A worker that was stopped for so long that another took its fills over must move them nowhere any more; and what is
added comes before what is taken away, so that a full server (OOM) refuses while the fill is still where it was.
"""

IS_MINE = """
local function mine(id)
  local row = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1)[1]
  return row and row[2] == ARGV[2]
end
"""

BURY = (
    IS_MINE
    + """
if not mine(ARGV[3]) then return 0 end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', unpack(ARGV, 5))
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
redis.call('XDEL', KEYS[1], ARGV[3])
return 1
"""
)

EXCHANGE = (
    IS_MINE
    + """
if not mine(ARGV[3]) then return 0 end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', unpack(ARGV, 6))
redis.call('PEXPIRE', KEYS[2], ARGV[5])
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
redis.call('XDEL', KEYS[1], ARGV[3])
return 1
"""
)

PUT_OFF = (
    IS_MINE
    + """
if not mine(ARGV[3]) then return 0 end
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[5])
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
redis.call('XDEL', KEYS[1], ARGV[3])
return 1
"""
)

KEEP = (
    IS_MINE
    + """
local kept = 0
for at = 3, #ARGV do
  if mine(ARGV[at]) then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[at], 'JUSTID')
    kept = kept + 1
  end
end
return kept
"""
)

# What is no fill of ours goes to the dead letters: left where it is, it would stand before all that is due after it.
# Members are looked at a few at a time, since each may be as large as the largest answer.
PROMOTE = """
local looked, bytes, due = 0, 0, {}
repeat
  due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, 16)
  for _, waiting in ipairs(due) do
    local _, stop, tries, queued = string.find(waiting, '^[^|]*|(%d+)|(%d+)|')
    if stop then
      redis.call('XADD', KEYS[2], '*', 'm', string.sub(waiting, stop + 1), 'n', tries, 'q', queued)
    else
      redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[4], '*', 'm', string.sub(waiting, 1, 65536), 'n', 0, 'q', ARGV[1],
        'lane', ARGV[5], 'reason', 'undecodable', 'detail', 'what waited for its next try is no fill')
    end
    redis.call('ZREM', KEYS[1], waiting)
    looked = looked + 1
    bytes = bytes + #waiting
  end
until #due == 0 or looked >= tonumber(ARGV[2]) or bytes >= tonumber(ARGV[3])
return looked
"""
