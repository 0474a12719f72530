r"""Lua scripts of the mirror: each is one atomic change or read of one slot.

KEYS[1] is the slot's hash, say S. All other keys begin with S and share its hash tag:

    S                 epoch (in force), offset, at and beat_at (ms, Redis' clock),
                      request, draft, draft_offset, copied, draft_row, draft_beat
    S:<epoch>:rows    hash: row key -> row value
    S:<epoch>:order   sorted set of the keys of rows that are read as lists, by key

Row keys and values are the very bytes of RocksDB (tables/keys.py, tables/codec.py).
Both keys of an epoch hold a mark, the empty field or member, from its beginning. One
that Redis evicted is missing, or grew anew without it: the epoch is in force no longer.

A key of another type, or a field that should be a number and is none, is what somebody
else wrote: the script fails, before it changes anything, with an error that has
WRONGTYPE or SPOILED in it. CLEAR removes such a slot.
"""

from typing import Final

_COMMON: Final = r"""
local CHUNK = 4000  -- Lua unpacks about 8,000 values at most.
local LISTED = {[0x11] = true, [0x12] = true, [0x15] = true, [0x21] = true}
local PARTITION, HEARTBEAT, MARK = '\1', '\2', ''

local function call(command, key, values)
  for first = 1, #values, CHUNK do
    local last = math.min(first + CHUNK - 1, #values)
    redis.call(command, key, unpack(values, first, last))
  end
end

local function get_all(key, fields)
  local values = {}
  for first = 1, #fields, CHUNK do
    local last = math.min(first + CHUNK - 1, #fields)
    local found = redis.call('HMGET', key, unpack(fields, first, last))
    for index = 1, #found do values[first + index - 1] = found[index] end
  end
  return values
end

-- A number as it is stored. What Lua alone takes for one ('nan', '1e300', '0x2') is
-- nothing that these scripts write.
local function number(text)
  if not text or #text > 16 or not string.find(text, '^%-?%d+$') then
    error('SPOILED: what should be a number is none')
  end
  return tonumber(text)
end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function drop(base)
  redis.call('UNLINK', base .. ':rows', base .. ':order')
end

-- ARGV[at]: how many puts; then key, value, ..., then the keys of deleted rows.
local function store(base, at)
  local deletes_at = at + 1 + 2 * ARGV[at]
  local rows, order = {}, {}
  for index = at + 1, deletes_at - 1, 2 do
    local key = ARGV[index]
    rows[#rows + 1] = key
    rows[#rows + 1] = ARGV[index + 1]
    if LISTED[string.byte(key)] then
      order[#order + 1] = '0'
      order[#order + 1] = key
    end
  end
  call('HSET', base .. ':rows', rows)
  call('ZADD', base .. ':order', order)
  rows, order = {}, {}
  for index = deletes_at, #ARGV do
    local key = ARGV[index]
    rows[#rows + 1] = key
    if LISTED[string.byte(key)] then order[#order + 1] = key end
  end
  call('HDEL', base .. ':rows', rows)
  call('ZREM', base .. ':order', order)
end

-- Whether an epoch lost none of its keys since it began.
local function is_whole(base)
  return redis.call('HEXISTS', base .. ':rows', MARK) == 1
    and redis.call('ZSCORE', base .. ':order', MARK)
end

-- When the log held no more, by this clock. ARGV[at]: what the clock had come to at
-- least when the owner sent this, which may have waited here; ARGV[at + 1]: how long
-- before (ms) that was. `heard`: what is known so far, unless it lies ahead: then the
-- clock was set back since. Answers that, and the clock.
local function held_no_more(at, heard)
  local now = now_ms()
  local when = math.min(now, tonumber(ARGV[at])) - ARGV[at + 1]
  if heard and heard <= now then when = math.max(when, heard) end
  return math.floor(when), now
end

-- The prefix of the epoch in force, or nil or false where there is none.
local function in_force(epoch)
  local base = epoch and KEYS[1] .. ':' .. epoch
  return base and is_whole(base) and base
end
"""

STEP: Final = (
    _COMMON
    + r"""
-- ARGV: first, last, two for `held_no_more`, then what to store.
-- Answers GONE, GAP, KNOWN or OK, with the clock, the position before and any request.
local held = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'request', 'at')
local base = in_force(held[1])
if not base then return {'GONE', now_ms()} end
local offset = number(held[2])
local at, now = held_no_more(3, number(held[4]))
if tonumber(ARGV[2]) <= offset then return {'KNOWN', now, offset, held[3]} end
if tonumber(ARGV[1]) > offset + 1 then return {'GAP', now, offset, held[3]} end
store(base, 5)
redis.call('HSET', KEYS[1], 'offset', ARGV[2], 'at', at)
return {'OK', now, offset, held[3]}
"""
)

BEAT: Final = (
    _COMMON
    + r"""
-- ARGV: the owner's position, its partition row, its heartbeat row, two for
-- `held_no_more`.
-- Answers GONE, GAP, AHEAD, DIFFERS or OK, with the clock, the position and any
-- request.
local held = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'request', 'at')
local base = in_force(held[1])
if not base then
  redis.call('HSET', KEYS[1], 'draft_row', ARGV[2], 'draft_beat', ARGV[3], 'beat_at',
    now_ms())
  return {'GONE', now_ms()}
end
local offset, applied = number(held[2]), tonumber(ARGV[1])
local at, now = held_no_more(4, number(held[4]))
redis.call('HSET', KEYS[1], 'beat_at', now)
local answer = 'OK'
if offset < applied then
  answer = 'GAP'
elseif offset > applied then
  answer = 'AHEAD'
  -- For who watches: the owner lives, though its rows are behind.
  redis.call('HSET', KEYS[1], 'draft_beat', ARGV[3])
elseif redis.call('HGET', base .. ':rows', PARTITION) ~= ARGV[2] then
  answer = 'DIFFERS'
else
  redis.call('HSET', base .. ':rows', HEARTBEAT, ARGV[3])
  redis.call('HSET', KEYS[1], 'at', at)
end
return {answer, now, offset, held[3]}
"""
)

BEGIN: Final = (
    _COMMON
    + r"""
-- ARGV: the draft's name, the owner's position, whether that is the only truth.
-- Answers TAKEN where an owner that is further on writes one and nobody asked for a new
-- one; else OK. One that comes again, and late, must not empty what was filled since.
local held = redis.call('HMGET', KEYS[1], 'draft', 'draft_offset', 'request')
if held[1] == ARGV[1] then return 'OK' end
if held[1] then
  local further = number(held[2]) > tonumber(ARGV[2])
  if further and ARGV[3] ~= '1' and not held[3] then return 'TAKEN' end
  drop(KEYS[1] .. ':' .. held[1])
end
local base = KEYS[1] .. ':' .. ARGV[1]
redis.call('HSET', base .. ':rows', MARK, '')
redis.call('ZADD', base .. ':order', 0, MARK)
redis.call('HSET', KEYS[1], 'draft', ARGV[1], 'draft_offset', ARGV[2], 'copied', 0)
return 'OK'
"""
)

FILL: Final = (
    _COMMON
    + r"""
-- ARGV: the draft's name, the owner's position, rows copied, then what to store.
-- Answers LOST where it is the draft no longer or lost rows; else OK. One that comes
-- again, late, has rows that steps after it may have changed: it is not stored.
local held = redis.call('HMGET', KEYS[1], 'draft', 'draft_offset', 'copied')
if held[1] ~= ARGV[1] then return 'LOST' end
local copied = number(held[3]) + ARGV[3]
if tonumber(ARGV[2]) < number(held[2]) then return 'OK' end
local base = KEYS[1] .. ':' .. ARGV[1]
if not is_whole(base) then return 'LOST' end
store(base, 4)
redis.call('HSET', KEYS[1], 'draft_offset', ARGV[2], 'copied', copied)
return 'OK'
"""
)

SWAP: Final = (
    _COMMON
    + r"""
-- ARGV: the draft's name, its position, whether it may be behind what is in force (it
-- may where a new epoch was asked for, too), two for `held_no_more`.
-- Answers LOST where it is the draft no longer, lost rows or is behind; else OK.
local held = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'draft', 'request', 'at')
if held[3] ~= ARGV[1] then return 'LOST' end
local readable = in_force(held[1])
local behind = readable and number(held[2]) > tonumber(ARGV[2])
local answer, useless = 'OK', held[1]
local refused = behind and ARGV[3] ~= '1' and not held[4]
if refused or not is_whole(KEYS[1] .. ':' .. ARGV[1]) then
  answer, useless = 'LOST', ARGV[1]
else
  -- What was known of rows that went no further holds of these.
  local at = held_no_more(4, readable and not behind and number(held[5]) or nil)
  redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'offset', ARGV[2], 'at', at)
  redis.call('HDEL', KEYS[1], 'request', 'draft_row', 'draft_beat')
end
redis.call('HDEL', KEYS[1], 'draft', 'draft_offset', 'copied')
if useless then drop(KEYS[1] .. ':' .. useless) end
return answer
"""
)

READ: Final = (
    _COMMON
    + r"""
-- ARGV: how many rows, their keys; then begin, end, limit of each list.
-- Answers nothing where no epoch is in force; else the clock, when the log held no more
-- than what is there, when an owner was heard of or nil, the rows' values, and for each
-- list its keys and its values.
local held = redis.call('HMGET', KEYS[1], 'epoch', 'at', 'offset', 'beat_at')
local base = in_force(held[1])
if not base then return {} end
local at = number(held[2])
number(held[3])
local points = tonumber(ARGV[1])
local fields = {}
for index = 1, points do fields[index] = ARGV[index + 1] end
local values = get_all(base .. ':rows', fields)
local lists = {}
for index = points + 2, #ARGV, 3 do
  local found = redis.call('ZRANGEBYLEX', base .. ':order', '[' .. ARGV[index],
    '(' .. ARGV[index + 1], 'LIMIT', 0, ARGV[index + 2])
  lists[#lists + 1] = found
  lists[#lists + 1] = get_all(base .. ':rows', found)
end
return {now_ms(), at, held[4], values, lists}
"""
)

CLEAR: Final = (
    _COMMON
    + r"""
-- Drops the slot's hash where another script may fail for what somebody else wrote;
-- else it stays. So who clears late cannot undo what another owner mended meanwhile.
-- What the hash named goes when the next epoch begins (SWEEP).
local function check()
  local held = redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'at', 'draft',
    'draft_offset', 'copied')
  if in_force(held[1]) then
    number(held[2])
    number(held[3])
  end
  if held[4] then
    number(held[5])
    number(held[6])
    is_whole(KEYS[1] .. ':' .. held[4])
  end
end
if not pcall(check) then redis.call('UNLINK', KEYS[1]) end
return 'OK'
"""
)

SWEEP: Final = (
    _COMMON
    + r"""
-- ARGV: names of epochs that were found. Drops those that are neither in force nor the
-- draft: what names them was lost.
local held = redis.call('HMGET', KEYS[1], 'epoch', 'draft')
for _, name in ipairs(ARGV) do
  if name ~= held[1] and name ~= held[2] then drop(KEYS[1] .. ':' .. name) end
end
return 'OK'
"""
)
