r"""Format `caddy`: what Caddy writes with the encoder `console`.

`time\tLEVEL\tlogger\tmessage\t{fields}`, by the Caddy documentation, "log", and zap's encoder of
that name; levels are coloured, and a line may have no logger and no fields. It means what the
object means that Caddy's encoder `json` writes. Times are UTC, unless Caddy is told otherwise.
"""

from __future__ import annotations

import re

import msgspec

from connectors.errors import MalformedLine
from flows.parsing.keys import without_colours
from flows.parsing.objects import objects

_LINE = re.compile(
    r"(\d{4})/(\d\d)/(\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)\t([A-Z]+)\t"
    r"(?:([\w.-]+)\t)?([^\t]*)(?:\t(\{.*\}))?",
    re.ASCII | re.DOTALL,
)
_decode = msgspec.json.Decoder(dict[str, object]).decode


def _members(line: str) -> dict[str, object]:
    """What `json` would have written."""
    found = _LINE.fullmatch(without_colours(line))
    if not found:
        raise MalformedLine("not_caddy", "not time, level, logger, message, {fields} with tabs")
    year, month, day, clock, level, logger, message, fields = found.groups()
    members: dict[str, object] = {"level": level.lower(), "ts": f"{year}-{month}-{day}T{clock}Z"}
    if logger:
        members["logger"] = logger
    members["msg"] = message
    try:
        return members | (_decode(fields) if fields else {})
    except (msgspec.MsgspecError, RecursionError) as error:
        raise MalformedLine("not_caddy", f"its fields are no object of JSON: {error}") from None


FORMAT = objects(
    _members,
    samples=(
        "2026/11/22 20:15:05.123\tINFO\thttp.log.access\thandled request\t"
        '{"request": {"remote_ip": "203.0.113.7", "method": "GET", "host": "example.com", '
        '"uri": "/a?b=c", "headers": {"User-Agent": ["curl/8.7.1"]}}, "duration": 0.04831, '
        '"size": 512, "status": 200, "resp_headers": {"Server": ["Caddy"]}}',
        "2026/11/22 20:15:05.123\t\x1b[33mWARN\x1b[0m\tserving caf\u00e9",
    ),
)
