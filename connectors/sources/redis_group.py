"""What the source `redis` asks of Redis: batches of entries, each frozen, until each is stored.

A batch is a consumer of the group: its name is the batch's, and its pending entries are the batch's
entries. So Redis itself keeps, in one step with the reading, which entries were handed out
together, and whoever sends a batch again sends the same one. A consumer that has been idle for the
lease is a batch whose process died. When a batch is stored, its consumer is deleted, and with it
all its pending entries: what XACK would do for each.

Beside the stream stands the hash `{stream}:<group>`. `id` is random and names the stream: one that
is made anew, by whatever clock, has another. `next` counts entries, `n:<consumer>` is the number of
a batch's first, and `lost` counts what was trimmed before it was read. `run` is the process of
Redis that was asked last. Is it another one, or the group not there, Redis may have forgotten what
it was told: up to the entry `again` the store has to be asked.

Commands and fields: redis.io/docs/latest/commands, XINFO, XREADGROUP, XGROUP; Redis 7.0 or later.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    RedisClusterException,
    RedisError,
)
from redis.retry import Retry

FAILURES = (RedisError, RedisClusterException, OSError)
"""What every method raises if Redis cannot be used now."""

_CONNECT, _ANSWER = 5.0, 30.0  # seconds
_OURS = "logwax-"
_FIRST, _STEP = 64, 2_000  # entries read at a time: before their size is known, and at most
_END = f"{2**64 - 1}-0"  # behind every entry; with the largest number it means those that are new

_NAMED = """
local function named(reply)
  local found = {}
  for at = 1, #reply, 2 do found[reply[at]] = reply[at + 1] end
  return found
end
"""

# Everything around the next entries.
_LOOK = (
    _NAMED
    + """
local stream, state, list = KEYS[1], KEYS[2], KEYS[3]
local group, fresh, unsure = ARGV[1], ARGV[2], false
local most, budget, piece = tonumber(ARGV[3]), tonumber(ARGV[4]), 64

if redis.call('EXISTS', stream) == 0 then
  redis.call('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM', 'ENTRIESREAD', '0')
  unsure = true
else
  redis.call('XLEN', stream) -- a key of another kind is refused before anything is moved
end
local waiting = 0
if list then
  local moved, size = 0, 0
  repeat
    local events = redis.call('LPOP', list, piece) or {}
    for _, event in ipairs(events) do
      redis.call('XADD', stream, '*', 'event', event)
      size = size + #event
    end
    moved = moved + #events
  until #events < piece or moved >= most or size >= budget
  waiting = redis.call('LLEN', list)
end
local all = named(redis.call('XINFO', 'STREAM', stream))
local added, last = all['entries-added'], all['last-generated-id']
local removed = added - all['length']

local function ours()
  for _, one in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    one = named(one)
    if one['name'] == group then return one end
  end
end
local mine = ours()
if not mine then
  redis.call('XGROUP', 'CREATE', stream, group, '0', 'ENTRIESREAD', removed)
  mine = ours()
  unsure = true
end

local said = named(redis.call('HGETALL', state))
if not said['id'] or added < tonumber(said['added'] or '0') then
  redis.call('DEL', state)
  redis.call('HSET', state, 'id', fresh)
  said = {id = fresh}
end
if tostring(added) ~= said['added'] then redis.call('HSET', state, 'added', added) end
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
if mine['entries-read'] and said['run'] and said['run'] ~= run then
  -- An append-only file does not bring it back: unknown, until Redis finds it out by itself.
  redis.call('XGROUP', 'SETID', stream, group, mine['last-delivered-id'], 'ENTRIESREAD', -1)
  mine = ours()
end
if unsure or said['run'] ~= run then
  redis.call('HSET', state, 'again', last, 'run', run)
  said['again'] = last
end

-- Of several entries that are gone, those that nobody has read are lost.
local behind = '(' .. mine['last-delivered-id']
local next = redis.call('XRANGE', stream, behind, '+', 'COUNT', 1)[1]
local first, read, lag = all['first-entry'], mine['entries-read'], mine['lag']
local lost = tonumber(said['lost'] or '0')
if read and removed > read and (not first or (next and next[1] == first[1])) then
  lost = redis.call('HINCRBY', state, 'lost', removed - read)
  redis.call('XGROUP', 'SETID', stream, group, mine['last-delivered-id'], 'ENTRIESREAD', removed)
  lag = all['length']
end
if not next then lag = 0 end

local oldest = next and next[1] or ''
if mine['pending'] > 0 then oldest = redis.call('XPENDING', stream, group)[2] end
local now = redis.call('TIME')
return {
  said['id'], run, said['again'], lost, last, (lag or 1) + waiting, mine['pending'],
  oldest, now[1]
}
"""
)

# A batch of which nobody has spoken for so many milliseconds: it is the asker's now.
_TAKE = (
    _NAMED
    + """
local stream, state, group, lease = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2])
if redis.call('EXISTS', stream) == 0 then return '' end
local known = redis.pcall('XINFO', 'CONSUMERS', stream, group)
if known.err then return '' end
for _, one in ipairs(known) do
  one = named(one)
  local name, is_ours = one['name'], string.sub(one['name'], 1, #ARGV[4]) == ARGV[4]
  if one['idle'] > lease then
    if one['pending'] > 0 and is_ours then
      redis.call('XREADGROUP', 'GROUP', group, name, 'COUNT', 1, 'STREAMS', stream, ARGV[5])
      return name
    elseif one['pending'] > 0 then
      local ids = {}
      for at, entry in ipairs(redis.call('XPENDING', stream, group, '-', '+', 500, name)) do
        ids[at] = entry[1]
      end
      local claim = {'XCLAIM', stream, group, ARGV[3], 0, unpack(ids)}
      claim[#claim + 1] = 'JUSTID'
      redis.call(unpack(claim))
      return ARGV[3]
    elseif is_ours then
      redis.call('XGROUP', 'DELCONSUMER', stream, group, name)
    end
  end
end
return ''
"""
)

# The number of the first entry of a batch, always the same; -1: the batch is not what it was.
_NUMBER = (
    _NAMED
    + """
local stream, state, group, consumer, count = KEYS[1], KEYS[2], ARGV[1], ARGV[2], tonumber(ARGV[3])
for _, one in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
  one = named(one)
  if one['name'] == consumer and one['pending'] == count then
    local number = redis.call('HGET', state, 'n:' .. consumer)
    if number then return tonumber(number) end
    number = redis.call('HINCRBY', state, 'next', count) - count
    redis.call('HSET', state, 'n:' .. consumer, number)
    return number
  end
end
return -1
"""
)

# A batch is stored; what came from a list stands in a stream of our own, which is kept short.
_DONE = (
    _NAMED
    + """
local stream, state, list = KEYS[1], KEYS[2], KEYS[3]
local group, consumer, lost = ARGV[1], ARGV[2], tonumber(ARGV[3])
redis.call('XGROUP', 'DELCONSUMER', stream, group, consumer)
redis.call('HDEL', state, 'n:' .. consumer)
if lost > 0 then redis.call('HINCRBY', state, 'lost', lost) end
if list then
  local keep = redis.call('XPENDING', stream, group)[2]
  for _, one in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    one = named(one)
    if one['name'] == group then keep = keep or one['last-delivered-id'] end
  end
  redis.call('XTRIM', stream, 'MINID', '=', keep)
end
"""
)

EntryId = tuple[int, int]
"""Milliseconds and a number, by which entries are in order."""


class Entry(NamedTuple):
    """An entry of the stream; `event` is what its field `event` holds, else all of it as JSON."""

    id: EntryId
    event: bytes
    has_event: bool


@dataclass(frozen=True)
class Depth:
    """How much the group has before it, as of one look.

    `waiting` are not read, `pending` are read and not stored; the oldest of both is
    `oldest_seconds` old. `lost` were trimmed before they were read, ever. (`stream`, id) names an
    entry for ever. The newest one is `last`. Of those up to `again` the store may have some
    already. `run` names the process of Redis.
    """

    stream: int = 0
    run: bytes = b""
    again: EntryId = (0, 0)
    lost: int = 0
    last: EntryId = (0, 0)
    waiting: int = 0
    pending: int = 0
    oldest_seconds: float = 0.0


@dataclass(frozen=True)
class Batch:
    """Entries that are sent together, always the same; their numbers begin with `first`.

    `depth` is as of when they were read, less themselves. `trimmed` entries were gone when they
    were read again.
    """

    name: str
    depth: Depth
    first: int
    entries: Sequence[Entry]
    positions: Sequence[int]
    trimmed: int = 0
    is_repeated: bool = False

    @property
    def number(self) -> int:
        """What names the batch for ever."""
        return int(self.name.removeprefix(_OURS))


class Group:
    """The consumer group `group` of the stream `stream` at `url`; for one thread at a time.

    With `queue` its events are the elements of that list: each look moves some into a stream of our
    own. Nothing is opened before the first question. A batch has `most` entries at most and, by the
    mean of the last ones, some `most_bytes`. `lease`: seconds after which a batch of which nobody
    said anything is taken over. Every method may raise one of `FAILURES`.
    """

    def __init__(
        self,
        url: str,
        stream: str,
        group: str,
        *,
        queue: str = "",
        most: int,
        most_bytes: int,
        lease: float,
    ) -> None:
        self._url = url
        self.name = queue or stream
        stream = f"{_tagged(queue)}:logwax" if queue else stream
        self._stream = stream
        self._keys = [stream, f"{_tagged(stream)}:{group}", *([queue] if queue else [])]
        self._group = group
        self._most = most
        self._most_bytes = most_bytes
        self._lease = lease
        self._mean = 0.0
        self._client: Any = None

    def look(self) -> Depth:
        """How much there is; makes what is missing."""
        return _depth(self._run(_LOOK, *self._look_arguments()))

    def claim(self) -> Batch | None:
        """The next entries, which are now ours; None: there are none."""
        name = _new_name()
        found: list[Any] = []
        size, depth = 0, Depth()
        while step := self._step(len(found), size):
            depth, more = self._read(name, step)
            found += more
            size += sum(len(value) for _, values in more for value in values)
            if len(more) < step:
                break
        if not found:
            return None
        self._mean = size / len(found)
        return self._batch(name, depth, found)

    def take_over(self) -> Batch | None:
        """A batch that was handed out by somebody who died, which is now ours; None: none is."""
        arguments = [self._group, int(self._lease * 1000), _new_name(), _OURS, _END]
        name = self._run(_TAKE, *arguments).decode()
        if not name:
            return None
        found: list[Any] = []
        while more := self._pending(name, found[-1][0] if found else "0-0"):
            found += more
        return self._batch(name, self.look(), found, is_repeated=True) if found else None

    def done(self, batch: Batch) -> None:
        """Say that the store has a batch."""
        self._run(_DONE, self._group, batch.name, batch.trimmed)

    def renew(self, batches: Sequence[Batch]) -> None:
        """Begin the leases of these batches anew."""
        for batch in batches:
            self._pending(batch.name, _END, 1)

    def has_lost(self, last: EntryId) -> bool:
        """Whether an entry that was there is not there any more, and was not trimmed."""
        client = self._connected()
        first = client.execute_command("XRANGE", self._stream, "-", "+", "COUNT", 1)
        if not first or _id(first[0][0]) > last or last == (0, 0):
            return False
        return not client.execute_command("XRANGE", self._stream, _text(last), _text(last))

    def go_beyond(self, last: EntryId) -> None:
        """Give new entries no id up to `last`, whatever the clock says."""
        self._connected().execute_command("XSETID", self._stream, _text(last))

    def close(self) -> None:
        """Close the connections."""
        if self._client:
            self._client.close()

    def _look_arguments(self) -> tuple[object, ...]:
        return self._group, secrets.randbits(62) + 1, self._most, self._most_bytes

    def _read(self, name: str, count: int) -> tuple[Depth, list[Any]]:
        """The next entries, and how much there was before, in one step: nothing is trimmed between.

        Scripts could read, too, but to take entries into Lua costs Redis more than to read them.
        """
        with self._connected().pipeline(transaction=True) as both:
            both.execute_command(
                *("EVAL", _LOOK, len(self._keys), *self._keys, *self._look_arguments())
            )
            both.execute_command(
                *("XREADGROUP", "GROUP", self._group, name),
                *("COUNT", count, "STREAMS", self._stream, ">"),
            )
            said, reply = both.execute()
        return _depth(said), reply[0][1] if reply else []

    def _step(self, entries: int, size: int) -> int:
        """How many entries to ask for, once so many and so large are there."""
        mean = size / entries if entries else self._mean
        if size >= self._most_bytes:
            return 0
        fits = int((self._most_bytes - size) / mean) if mean else _FIRST
        return min(self._most - entries, max(1, min(fits, _STEP)))

    def _pending(self, name: str, after: object, count: int = _STEP) -> list[Any]:
        """Entries of a batch behind one of them; asking begins its lease anew."""
        reply = self._connected().execute_command(
            *("XREADGROUP", "GROUP", self._group, name),
            *("COUNT", count, "STREAMS", self._stream, after),
        )
        found: list[Any] = reply[0][1]
        return found

    def _batch(
        self, name: str, depth: Depth, found: list[Any], *, is_repeated: bool = False
    ) -> Batch | None:
        number = int(self._run(_NUMBER, self._group, name, len(found)))
        if number < 0:
            return None  # the consumer has more: it is read anew when its lease has run out
        positions = [at for at, (_, values) in enumerate(found) if values is not None]
        entries = [_entry(id, values) for id, values in found if values is not None]
        return Batch(
            name,
            depth,
            number,
            entries,
            positions,
            trimmed=len(found) - len(entries),
            is_repeated=is_repeated,
        )

    def _run(self, script: str, *arguments: object) -> Any:
        return self._connected().eval(script, len(self._keys), *self._keys, *arguments)

    def _connected(self) -> Any:
        if self._client is None:
            client: Any = open_client(self._url)
            # As they come: the client would make dictionaries of them.
            for command in ("XREADGROUP", "XRANGE"):
                client.set_response_callback(command, lambda reply, **options: reply)
            self._client = client
        return self._client


def url_problem(url: str) -> list[str]:
    """What is wrong with a URL, as far as can be told: a Redis that is away is waited for."""
    try:
        client = open_client(url)
        version = str(_server(client).get("redis_version", ""))
        client.close()
    except (ValueError, TypeError, AuthenticationError, NoPermissionError) as error:
        return [f"REDIS_URL=***: {error}."]
    except FAILURES:
        return []
    if version.split(".")[0] in ("", *"123456"):
        return [f"REDIS_URL=***: Redis {version} counts no entries; it must be 7.0 or later."]
    return []


def _server(client: Any) -> dict[str, Any]:
    told: dict[str, Any] = client.info("server")
    return told if "redis_version" in told else dict(next(iter(told.values()), {}))  # of a cluster


def open_client(url: str) -> Any:
    """A client of the server, or of the cluster, at a URL of redis-py.

    `cluster=true` among its options names a cluster; else the server is asked. Nothing is tried
    twice: a batch would be larger than its process knows.

    Raises `ValueError` for what is no such URL.
    """
    url, _, query = url.partition("?")
    options = dict(parse_qsl(query))
    is_cluster = options.pop("cluster", "") == "true"
    url += f"?{urlencode(options)}" if options else ""
    common: dict[str, Any] = {
        "protocol": 2,
        "socket_timeout": _ANSWER,
        "socket_connect_timeout": _CONNECT,
        "client_name": "logwax",
        "retry": Retry(NoBackoff(), 0),
    }
    client = redis.Redis.from_url(url, **common)
    if not is_cluster:
        is_cluster = bool(client.info("cluster").get("cluster_enabled"))
    if not is_cluster:
        return client
    client.close()
    return redis.RedisCluster.from_url(url, **common)


def _depth(said: list[Any]) -> Depth:
    """What `_LOOK` says."""
    stream, run, again, lost, last, waiting, pending, oldest, now = said
    age = int(now) - _id(oldest)[0] / 1000 if oldest else 0.0
    return Depth(
        *(int(stream), run, _id(again), int(lost), _id(last)),
        *(int(waiting), int(pending), max(0.0, age)),
    )


def _new_name() -> str:
    return f"{_OURS}{secrets.randbits(62) + 1}"


def _tagged(key: str) -> str:
    """The beginning of a key that a cluster has beside this one."""
    return key if re.search(r"\{[^}]+\}", key) else f"{{{key}}}"


def _id(text: bytes) -> EntryId:
    millis, _, number = text.partition(b"-")
    return int(millis), int(number)


def _text(id: EntryId) -> str:
    return f"{id[0]}-{id[1]}"


def _entry(id: bytes, values: list[bytes]) -> Entry:
    if values[0] == b"event":
        return Entry(_id(id), values[1], True)
    fields = dict(zip(values[::2], values[1::2], strict=True))
    if b"event" in fields:
        return Entry(_id(id), fields[b"event"], True)
    texts = {
        name.decode(errors="backslashreplace"): value.decode(errors="backslashreplace")
        for name, value in fields.items()
    }
    return Entry(_id(id), msgspec.json.encode(texts), False)
