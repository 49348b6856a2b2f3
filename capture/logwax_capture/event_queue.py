"""Events of a web application, left to a thread that adds them to a stream of Redis."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from logwax_capture import extra
from logwax_capture.background import MOST_AT_EXIT, Background, Send
from logwax_capture.errors import SettingError
from logwax_capture.ids import next_id
from logwax_capture.jsontext import encode, whole
from logwax_capture.spill import Entry, Spill, state_directory

logger = logging.getLogger(__name__)

_PATIENCE = 5.0  # seconds for one answer of Redis
_REMEMBERED = 7 * 24 * 3600  # seconds for which Redis knows which entries it has
_BITS = 17  # of a number are its place in a bitmap: 16 KiB for 131,072 entries, as in `_ADD`

# XLEN first: it fails for a key that is no stream, before anything is written. The events of a
# bitmap come as lines, and their ids one behind the other: 1,000 arguments cost the client more.
_ADD = """
redis.call('XLEN', KEYS[1])
local added = 0
for i = 2, #KEYS do
  local ids, events, last, from = ARGV[2 * i - 1], ARGV[2 * i], 0, 1
  repeat
    local to = string.find(events, '\\n', from, true)
    last = last + 32
    local place = tonumber(string.sub(ids, last - 4, last), 16) % 131072
    if redis.call('SETBIT', KEYS[i], place, 1) == 0 then
      redis.call('XADD', KEYS[1], '*', 'event', string.sub(events, from, (to or 0) - 1))
      added = added + 1
    end
    from = (to or 0) + 1
  until not to
  redis.call('EXPIRE', KEYS[i], ARGV[2])
end
return {added, redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', ARGV[1])}
"""


def _by_bitmap(entries: Sequence[Entry]) -> dict[str, Sequence[Entry]]:
    """The entries by the bitmap that knows them: nearly always it is one."""
    ids = [entry["id"] for entry in entries]
    if ids and _bitmap(min(ids)) == _bitmap(max(ids)):
        return {_bitmap(ids[0]): entries}
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(_bitmap(entry["id"]), []).append(entry)
    return {**found}


def _bitmap(id: str) -> str:
    return f"{id[:16]}:{int(id[16:], 16) >> _BITS}"


class RedisStream:
    """Adds entries to a stream, each in one field `event`, and each once.

    Beside the stream, under the same hash tag, Redis has a bitmap of the entries that it has, for
    7 days, and looks and adds in one step. So a batch whose answer was lost may be sent again, by
    any process.

    `url` and `stream`: by default the variables REDIS_URL and REDIS_STREAM. The stream is trimmed
    to about `max_length` entries, whether they were read or not; `trimmed` counts them.
    """

    def __init__(
        self, url: str | None = None, stream: str | None = None, max_length: int = 1_000_000
    ) -> None:
        self.url = url or os.environ.get("REDIS_URL") or "redis://127.0.0.1:6379/0"
        self.stream = stream or os.environ.get("REDIS_STREAM") or "logwax:events"
        self.max_length = max_length
        self.trimmed = 0
        self._redis = extra("redis", "redis")
        self._process = 0
        self._add: Any = None
        if max_length < 1:
            raise SettingError("max_length must be greater than 0.")

    def __call__(self, entries: Sequence[Entry], is_again: bool = False) -> None:
        """Add those that are not there yet. Raises what redis-py raises."""
        if self._process != os.getpid():  # a forked process has a connection of its own
            self._add = self._connect().register_script(_ADD)
            self._process = os.getpid()
        bitmaps = _by_bitmap(entries)
        arguments: list[Any] = [self.max_length, _REMEMBERED]
        for some in bitmaps.values():
            ids = "".join([entry["id"] for entry in some])
            arguments += (ids, whole("\n".join([entry["event"] for entry in some])))
        tag = self.stream if "{" in self.stream else f"{{{self.stream}}}"
        keys = [self.stream, *(f"{tag}:added:{key}" for key in bitmaps)]
        _, trimmed = self._add(keys=keys, args=arguments)
        if trimmed and not self.trimmed:
            logger.info(
                "%s has its %d entries: the oldest go from now on, read or not.",
                *(self.stream, self.max_length),
            )
        self.trimmed += trimmed

    def _connect(self) -> Any:
        """A client of the server, or of the cluster that it is in or that the URL names."""
        head, _, query = self.url.partition("?")
        options = dict(parse_qsl(query))
        is_named = options.pop("cluster", "") == "true"
        url = f"{head}?{urlencode(options)}" if options else head
        patience: dict[str, Any] = {
            "socket_timeout": _PATIENCE,
            "socket_connect_timeout": _PATIENCE,
        }
        retry = extra("redis", "redis.retry").Retry(extra("redis", "redis.backoff").NoBackoff(), 1)
        if not is_named:
            client = self._redis.Redis.from_url(url, retry=retry, **patience)
            if not client.info("cluster").get("cluster_enabled"):
                return client
            client.close()
        return self._redis.RedisCluster.from_url(url, **patience)


class EventQueue:
    """Takes events, and hands them to `send` from a thread of its own.

    `send`: a `RedisStream`, by default one as the variables say, or an
    `event_tasks.CeleryRoute`.

    `put` never waits: at most `bound` events are in memory; what is more, or is left at the end of
    the process, is in files of `spill_dir` (by default `~/.local/state/logwax/events`), at most
    `spill_max_bytes` for each process, until Redis has it.

    Guarantee: what `put` took is added once, also over a Redis that is away or hangs, a lost
    answer, a fork, and the end of the process. SIGKILL loses what is in memory, usually that of
    100 ms. What is dropped because the spill is full is counted in `get_status()`. Raises
    `SettingError`.
    """

    def __init__(
        self,
        send: Send | None = None,
        *,
        size: int = 200,
        interval: float = 0.1,
        bound: int = 10_000,
        spill_dir: str | os.PathLike[str] | None = None,
        spill_max_bytes: int = 1024 * 1024 * 1024,
    ) -> None:
        numbers = {"size": size, "interval": interval, "bound": bound}
        numbers["spill_max_bytes"] = spill_max_bytes
        wrong = [f"{name} must be greater than 0" for name, value in numbers.items() if value <= 0]
        if wrong:
            raise SettingError("; ".join(wrong) + ".")
        self._send = send or RedisStream()
        self._queue = Background(
            "logwax events",
            self._send,
            size=size,
            interval=interval,
            bound=bound,
            spill=Spill(Path(spill_dir or state_directory("events")), spill_max_bytes),
        )

    def put(self, event: Mapping[str, object]) -> None:
        """Take an event; returns at once, and never raises for what Redis does."""
        self._queue.put({"id": next_id(), "event": encode(event)})

    def flush(self, seconds: float = 60.0) -> bool:
        """Wait until all that was taken is sent; False: it was not in time."""
        return self._queue.flush(seconds)

    def close(self, seconds: float = MOST_AT_EXIT) -> None:
        """Flush; what is not sent in time is spilled. Happens at exit by itself."""
        self._queue.close(seconds)

    def get_status(self) -> dict[str, int]:
        """How many events wait, and what became of the others, since this process began."""
        queue = self._queue
        return {
            "queue_backlog": queue.qsize(),
            "sent_count": queue.sent,
            "failed_send_count": queue.failed,
            "spilled_count": queue.spilled,
            "dropped_count": queue.dropped,
            "trimmed_count": getattr(self._send, "trimmed", 0),
        }
