r"""Format `caddy`: what Caddy writes with the encoder `console`.

`time\tLEVEL\tlogger\tmessage\t{fields}`, by the Caddy documentation, "log", and zap's encoder of
that name; levels are coloured, and a line may have no logger and no fields. It means what the
object means that Caddy's encoder `json` writes. Times are UTC, unless Caddy is told otherwise.
"""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo

import msgspec
import polars as pl

from connectors.errors import MalformedLine
from flows.parsing.choice import Scanner
from flows.parsing.keys import columns_of, without_colours
from flows.parsing.lines import Lines
from flows.parsing.objects import Objects
from flows.parsing.times import UTC, pattern
from native.lines import Form, Key, Keys, Kind, Tell

_TIME = pattern("%Y/%m/%d %H:%M:%S")
_LINE = re.compile(
    rf"({_TIME.shape})\t([A-Z]+)\t(?:([\w.-]+)\t)?([^\t]*)(?:\t(\{{.*\}}))?", re.ASCII | re.DOTALL
)
_FIRST = ("ts", "level", "logger", "msg")
_LEVELS = ("INFO", "WARN", "ERROR", "DEBUG", "DPANIC", "PANIC", "FATAL")
_decode = msgspec.json.Decoder(dict[str, object]).decode


def _members(line: str) -> dict[str, object]:
    """What `json` would have written."""
    found = _LINE.fullmatch(without_colours(line))
    if not found:
        raise MalformedLine("not_caddy", "not time, level, logger, message, {fields} with tabs")
    time, level, logger, message, fields = found.groups()
    members: dict[str, object] = {"ts": _TIME.read(time, UTC).isoformat(), "level": level.lower()}
    if logger:
        members["logger"] = logger
    members["msg"] = message
    try:
        return members | (_decode(fields) if fields else {})
    except (msgspec.MsgspecError, RecursionError) as error:
        raise MalformedLine("not_caddy", f"its fields are no object of JSON: {error}") from None


def _members_of_bytes(line: bytes) -> dict[str, object]:
    try:
        return _members(line.decode())
    except (MalformedLine, UnicodeDecodeError):
        return {}


class _Console(Objects):
    """See the module's docstring."""

    def __init__(self, time_zone: ZoneInfo, shift: int) -> None:
        super().__init__(_members, time_zone, shift)

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those that are not as usual are left open."""
        return columns_of(
            Form.CONSOLE,
            lines,
            _members_of_bytes,
            UTC,
            self._shift,
            needs_time=self._needs_time,
            spell=_spelled,
        )


def _spelled(keys: Keys) -> Keys:
    """The keys, those of the columns before others."""
    olds = {key.name: number for number, key in enumerate(keys.all[: keys.top])}
    order = [olds.get(name) for name in _FIRST]
    order += [number for number in range(len(keys.all)) if number not in order]
    places = {number: place for place, number in enumerate(order) if number is not None}
    found = [
        Key(_FIRST[place], "attributes", Kind.ATTRIBUTE)
        if number is None
        else keys.all[number]._replace(
            first=places.get(keys.all[number].first, 0), main=places[keys.all[number].main]
        )
        for place, number in enumerate(order)
    ]
    if [key.kind for key in found[:2]] != [Kind.TIME, Kind.NAMED]:
        return keys._replace(all=[])
    found[1] = found[1]._replace(words=tuple((level, level.lower()) for level in _LEVELS))
    return keys._replace(
        all=found,
        top=keys.top + order.count(None),
        tells=[
            Tell(tuple(places[number] for number in tell.keys), tell.is_ours) for tell in keys.tells
        ],
        way=_TIME.codes,
    )


FORMAT = Scanner(
    _Console,
    samples=(
        "2026/11/22 20:15:05.123\tINFO\thttp.log.access\thandled request\t"
        '{"request": {"remote_ip": "203.0.113.7", "method": "GET", "host": "example.com", '
        '"uri": "/a?b=c", "headers": {"User-Agent": ["curl/8.7.1"]}}, "duration": 0.04831, '
        '"size": 512, "status": 200, "resp_headers": {"Server": ["Caddy"]}}',
        "2026/11/22 20:15:05.123\t\x1b[33mWARN\x1b[0m\tserving caf\u00e9",
    ),
)
