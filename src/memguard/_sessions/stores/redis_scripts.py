"""
What a Redis server does for each verb of `space.Space`, in Lua.

A script happens as a whole or not at all, and reads the server's clock alone. KEYS[1]
is the container, `{prefix:name}`; all keys of a container begin with it, and so they
are in one slot of a cluster:

    :s:<id>      hash, a session: o owner, v version, r record, x end, z bytes, w who
                 asked for it and when; p<page>:<history> the pages of histories
    :l:<owner>   the lease, which the server lets expire
    :o:<owner>   set, the ids an owner has        :w:<owner>  zset, those asked for
    :r:<owner>   list, its newest calls that must not happen twice, and their answers
    :owners      set, all who may have sessions   :ids        zset, by first write
    :free        zset, nobody's sessions by their end (inf: never)
    :bytes  :seq  :horizon                        :q  :q:<n>  records put aside

A client that lost its connection before the answer came sends a call again. If the
session is not the owner's any more by then, the first answer is looked up.

A script without memory left fails at its first command that needs some and leaves
everything as it was, because such a command comes first everywhere.

Longer than 300 lines because the scripts are one program and share its data.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from memguard._records import record

__all__ = (
    "BEAT",
    "CLAIM",
    "COUNT",
    "DELETE",
    "DRAIN",
    "DUE",
    "IDS",
    "JOIN",
    "NEXT_DUE",
    "OWNERS",
    "PAGES",
    "PUT",
    "QUARANTINE",
    "READ",
    "RELEASE",
    "TOUCH",
    "UNLEASE",
    "WANTED",
    "Script",
    "loaded",
)


@record
class Script:
    """
    A script and the name the server knows it by.
    """

    text: str
    sha: str


@lru_cache
def loaded(text: str) -> Script:
    """
    *text* with what all scripts share.
    """
    from hashlib import sha1

    whole = _COMMON + text
    return Script(whole, sha1(whole.encode(), usedforsecurity=False).hexdigest())


# How long a want counts; for how long nobody's sessions outlive their end where nobody
# takes them away; how many records are put aside, and for how long; how many calls of
# an owner are remembered, and for how long.
_COMMON: Final = """
local call = redis.call
local base = KEYS[1]
local WANT_MS, KEPT_S, ASIDE, ASIDE_S = 60000, 604800, 100, 2592000
local CALLS, CALLS_S = 1000, 600
local function now_ms()
  local t = call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local function session(id) return base .. ':s:' .. id end
local function lease(owner) return base .. ':l:' .. owner end
local function owned(owner) return base .. ':o:' .. owner end
local function asked(owner) return base .. ':w:' .. owner end
local function owns(owner, id)
  return call('EXISTS', lease(owner)) == 1 and call('HGET', session(id), 'o') == owner
end
"""

_TWICE: Final = """
local function calls(owner) return base .. ':r:' .. owner end
local function note(owner, nonce, answer)
  call('LPUSH', calls(owner), nonce .. answer)
  call('LTRIM', calls(owner), 0, CALLS - 1)
  call('EXPIRE', calls(owner), CALLS_S)
end
local function noted(owner, nonce)
  for _, one in ipairs(call('LRANGE', calls(owner), 0, -1)) do
    if string.sub(one, 1, #nonce) == nonce then return string.sub(one, #nonce + 1) end
  end
end
"""

_OUTLIVE: Final = """
local SHARED = {':ids', ':free', ':bytes', ':seq', ':horizon', ':owners'}
local function outlive(last)  -- what sessions share stays longer than any of them
  local horizon = call('GET', base .. ':horizon')
  local far = horizon
  if not last or horizon == 'inf' then
    far = 'inf'
  elseif not horizon or tonumber(horizon) < last then
    far = string.format('%.0f', last + KEPT_S)
  end
  if far ~= horizon then call('SET', base .. ':horizon', far) end
  for _, key in ipairs(SHARED) do
    if far == 'inf' then
      call('PERSIST', base .. key)
    else
      call('EXPIREAT', base .. key, far)
    end
  end
end
"""

_FREE: Final = (
    _OUTLIVE
    + """
local function free(id, owner)  -- true where there is a record
  local key = session(id)
  local found = call('HMGET', key, 'v', 'x', 'z', 'w')
  if found[1] then
    local ends = found[2] ~= '' and tonumber(found[2]) or nil
    call('ZADD', base .. ':free', ends and found[2] or 'inf', id)
    call('INCRBY', base .. ':bytes', found[3])
    local now = now_ms() / 1000
    if ends and ends < now + 3e9 then
      local last = math.max(ends, now) + KEPT_S
      call('EXPIREAT', key, string.format('%.0f', last))
      outlive(last)
    else
      outlive(nil)
    end
    call('HDEL', key, 'o')
  elseif found[4] then
    call('HDEL', key, 'o')
    call('PEXPIRE', key, WANT_MS)
  else
    call('DEL', key)
  end
  call('SREM', owned(owner), id)
  call('ZREM', asked(owner), id)
  return found[1]
end
"""
)

#: owner, lease in milliseconds -> 0 where its sessions have to be drained first
JOIN: Final = """
if call('SISMEMBER', base .. ':owners', ARGV[1]) == 1
    and call('EXISTS', lease(ARGV[1])) == 0 then
  return 0
end
call('SADD', base .. ':owners', ARGV[1])
call('SET', lease(ARGV[1]), '1', 'PX', ARGV[2])
return 1
"""

#: owner, lease in milliseconds -> 1 where there was a lease
BEAT: Final = (
    _OUTLIVE
    + """
local alive = call('PEXPIRE', lease(ARGV[1]), ARGV[2])
if alive == 1 then
  local horizon, now = call('GET', base .. ':horizon'), now_ms() / 1000
  if horizon and horizon ~= 'inf' and tonumber(horizon) < now + KEPT_S then
    outlive(now + KEPT_S)
  end
end
return alive
"""
)

#: owner
UNLEASE: Final = """
call('DEL', lease(ARGV[1]))
"""

#: -> owner, 1 where the lease runs, ...
OWNERS: Final = """
local answer = {}
for _, owner in ipairs(call('SMEMBERS', base .. ':owners')) do
  answer[#answer + 1] = owner
  answer[#answer + 1] = call('EXISTS', lease(owner))
end
return answer
"""

#: owner, '1' where it has gone for certain, most -> how many came free, how many stay
DRAIN: Final = (
    _FREE
    + """
local owner = ARGV[1]
if ARGV[2] == '1' then
  call('DEL', lease(owner))
elseif call('EXISTS', lease(owner)) == 1 then
  return {0, 0}
end
local freed = 0
for _, id in ipairs(call('SRANDMEMBER', owned(owner), ARGV[3])) do
  if call('HGET', session(id), 'o') == owner then
    if free(id, owner) then freed = freed + 1 end
  else
    call('SREM', owned(owner), id)
  end
end
local left = call('SCARD', owned(owner))
if left == 0 then
  call('DEL', asked(owner))
  call('SREM', base .. ':owners', owner)
end
return {freed, left}
"""
)

#: id, owner, version in memory or '', an owner that has gone for certain or ''
#: -> -1 stale | 0, holder | 1, version, record or false, 1 where contended
CLAIM: Final = """
local id, me, have, gone = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if call('EXISTS', lease(me)) == 0 then return {-1} end
local key, now = session(id), now_ms()
local found = call('HMGET', key, 'o', 'v', 'z', 'w')
local holder, version, size, wants = found[1], found[2], found[3], found[4]
local waiting, latest = {}, 0  -- others who asked within the last minute
for at, who in string.gmatch(wants or '', '(%d+):([^\\n]*)') do
  if who ~= me and now - tonumber(at) < WANT_MS then
    waiting[#waiting + 1] = at .. ':' .. who
    latest = math.max(latest, tonumber(at))
  end
end
if holder and holder ~= me and holder ~= gone
    and call('EXISTS', lease(holder)) == 1 then
  waiting[#waiting + 1] = string.format('%.0f:', now) .. me
  call('HSET', key, 'w', table.concat(waiting, '\\n'))
  call('ZADD', asked(holder), now, id)
  call('PEXPIRE', asked(holder), WANT_MS)
  return {0, holder}
end
if holder ~= me then
  call('SADD', owned(me), id)
  call('HSET', key, 'o', me)
end
if holder and holder ~= me then
  if holder == gone then call('DEL', lease(holder)) end
  call('SREM', owned(holder), id)
  call('ZREM', asked(holder), id)
elseif not holder then
  call('PERSIST', key)
  if not version and call('ZSCORE', base .. ':free', id) then
    -- The server let the record expire: what it weighed can only be guessed.
    local total = tonumber(call('GET', base .. ':bytes') or '0')
    size = math.floor(total / call('ZCARD', base .. ':free'))
    call('ZREM', base .. ':ids', id)
  end
  if call('ZREM', base .. ':free', id) == 1 then
    if call('EXISTS', base .. ':free') == 1 then
      call('DECRBY', base .. ':bytes', size)
    else
      call('DEL', base .. ':bytes')
    end
  end
end
local contended = 0
if #waiting > 0 then
  contended = 1
  call('HSET', key, 'w', table.concat(waiting, '\\n'))
  call('ZADD', asked(me), latest, id)
  call('PEXPIRE', asked(me), WANT_MS)
elseif wants then
  call('HDEL', key, 'w')
end
if not version then return {1, '0', false, contended} end
if version == have then return {1, version, false, contended} end
return {1, version, call('HGET', key, 'r'), contended}
"""

#: owner -> ids
WANTED: Final = """
local key = asked(ARGV[1])
if call('EXISTS', key) == 0 then return {} end
return call('ZRANGEBYSCORE', key, now_ms() - WANT_MS, '+inf')
"""

#: owner, nonce of the call, then for each session: id, version, end or '', '1' to
#: release, record, number of pages, and for each page its field, '1' where there is
#: one, its bytes -> '1' or '0' for each session
PUT: Final = (
    _FREE
    + _TWICE
    + """
local owner, nonce, at, answer = ARGV[1], ARGV[2], 3, {}
while ARGV[at] do
  local id, version, ends = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local release, body, pages = ARGV[at + 3], ARGV[at + 4], tonumber(ARGV[at + 5])
  at = at + 6
  local mine, key = owns(owner, id), session(id)
  if mine then
    local old = call('HMGET', key, 'r', 'z')
    local size = (tonumber(old[2] or '0')) - #(old[1] or '') + #body
    call('HSET', key, 'v', version, 'x', ends, 'r', body)
    if not old[1] then
      call('ZADD', base .. ':ids', call('INCR', base .. ':seq'), id)
    end
    for page = at, at + 3 * (pages - 1), 3 do
      local field = ARGV[page]
      size = size - call('HSTRLEN', key, field)
      if ARGV[page + 1] == '1' then
        call('HSET', key, field, ARGV[page + 2])
        size = size + #ARGV[page + 2]
      else
        call('HDEL', key, field)
      end
    end
    call('HSET', key, 'z', size)
    if release == '1' then free(id, owner) end
  end
  answer[#answer + 1] = mine and '1' or '0'
  at = at + 3 * pages
end
local all = table.concat(answer)
if string.find(all, '0', 1, true) then
  local first = noted(owner, nonce)
  if first then return first end
end
if string.find(all, '1', 1, true) then note(owner, nonce, all) end
return all
"""
)

#: id, owner
RELEASE: Final = (
    _FREE
    + """
if call('HGET', session(ARGV[1]), 'o') == ARGV[2] then free(ARGV[1], ARGV[2]) end
"""
)

#: id, owner, nonce of the call -> 1 where it was the owner's
DELETE: Final = (
    _TWICE
    + """
local id, owner = ARGV[1], ARGV[2]
if not owns(owner, id) then return noted(owner, ARGV[3]) and 1 or 0 end
note(owner, ARGV[3], '1')
call('UNLINK', session(id))
call('SREM', owned(owner), id)
call('ZREM', asked(owner), id)
call('ZREM', base .. ':ids', id)
return 1
"""
)

#: id, owner
QUARANTINE: Final = """
local id, owner = ARGV[1], ARGV[2]
if not owns(owner, id) or call('HEXISTS', session(id), 'v') == 0 then return end
local aside = base .. ':q:' .. call('INCR', base .. ':seq')
call('LPUSH', base .. ':q', aside)
call('HSET', session(id), 'id', id)
call('RENAME', session(id), aside)
call('HSET', session(id), 'o', owner)
call('HDEL', aside, 'o', 'w')
call('ZREM', base .. ':ids', id)
call('EXPIRE', aside, ASIDE_S)
call('EXPIRE', base .. ':q', ASIDE_S)
while call('LLEN', base .. ':q') > ASIDE do
  call('UNLINK', call('RPOP', base .. ':q'))
end
"""

#: owner, then id and end or '' of each
TOUCH: Final = """
for at = 2, #ARGV, 2 do
  local id = ARGV[at]
  if owns(ARGV[1], id) and call('HEXISTS', session(id), 'v') == 1 then
    call('HSET', session(id), 'x', ARGV[at + 1])
  end
end
"""

#: id -> nothing | version, record, end or '', owner whose lease runs or false, bytes
READ: Final = """
local found = call('HMGET', session(ARGV[1]), 'v', 'r', 'x', 'o', 'z')
if not found[1] then return false end
if found[4] and call('EXISTS', lease(found[4])) == 0 then found[4] = false end
return found
"""

#: id, fields -> bytes or nothing each
PAGES: Final = """
local answer = {}
for at = 2, #ARGV do answer[at - 1] = call('HGET', session(ARGV[1]), ARGV[at]) end
return answer
"""

#: now, most -> ids
DUE: Final = """
return call('ZRANGEBYSCORE', base .. ':free', '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
"""

#: -> seconds, 'inf', or nothing
NEXT_DUE: Final = """
return call('ZRANGE', base .. ':free', 0, 0, 'WITHSCORES')[2] or false
"""

#: -> sessions, bytes
COUNT: Final = """
return {call('ZCARD', base .. ':free'), tonumber(call('GET', base .. ':bytes') or '0')}
"""

#: -> ids
IDS: Final = """
return call('ZRANGE', base .. ':ids', 0, -1)
"""
