"""Format `json`: one JSON object (RFC 8259) a line.

Keys become columns as `flows/parsing/dialects.py` says; of several for one column, the
first there wins. Any other key, nested values too, goes into `attributes`, and so does a known
key whose line has a better alias. A known key that is null is as good as missing. A line needs a
timestamp.

In front of the object may be a name and a colon, an attribute then, or `@cee:`, the cookie by which
syslog's messages are known as JSON (rsyslog's documentation, "mmjsonparse").
"""

from __future__ import annotations

import re
from copy import copy
from functools import partial
from zoneinfo import ZoneInfo

import msgspec
import polars as pl

from connectors.errors import MalformedLine
from flows.parsing.choice import Scanner
from flows.parsing.fields import LENIENT, encode
from flows.parsing.keys import columns_of, row_of
from flows.parsing.lines import Lines
from flows.parsing.parser import Row
from native.lines import Form

NAME = "named"
"""The attribute of what is in front of an object."""

_decode = msgspec.json.Decoder().decode
_NAMED = re.compile(r'^(?:@cee|([A-Za-z][\w.-]*)(?: -)?): *\{(?=\s*")', re.MULTILINE | re.ASCII)
_NAMED_BYTES = re.compile(_NAMED.pattern.encode(), re.MULTILINE)
_UNREADABLE = re.compile(r"\bNaN\b|\bInfinity\b|[0-9][eE]\+?[0-9]{3}")


class JsonLines:
    """See the module's docstring."""

    def __init__(self, time_zone: ZoneInfo, duration_shift: int) -> None:
        self._zone = time_zone
        self._shift = duration_shift
        self._needs_time = True

    def timeless(self) -> JsonLines:
        """The same for lines that may have no time."""
        same = copy(self)
        same._needs_time = False
        return same

    def line(self, text: str) -> Row:
        """One line. Raises `MalformedLine`."""
        try:
            found = _value_of(text if text.startswith("{") else _NAMED.sub(_begin_of, text, 1))
            if not isinstance(found, dict):
                raise MalformedLine("not_an_object", f"{type(found).__name__}, not an object")
            return row_of(found, self._zone, self._shift, needs_time=self._needs_time)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise MalformedLine("bad_json", str(error)) from None

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those that are not as usual are left open."""
        if sum(len(lines.beginning_with(ord(one))) for one in "{@") < len(lines):
            lines = lines.changed(partial(_NAMED_BYTES.sub, _begin_of_bytes))
        return columns_of(
            Form.JSON, lines, _members, self._zone, self._shift, needs_time=self._needs_time
        )


def _begin(name: str) -> str:
    """How an object begins that has this name in front of it."""
    return f'{{"{NAME}":"{name}",' if name else "{"


def _begin_of(head: re.Match[str]) -> str:
    return _begin(head.group(1) or "")


def _begin_of_bytes(head: re.Match[bytes]) -> bytes:
    return _begin((head.group(1) or b"").decode()).encode()


def _value_of(text: str) -> object:
    """The value that a text of JSON is. Raises `MsgspecError`, `RecursionError`.

    NaN and Infinity are no JSON, and 1e999 is no number of 64 bits; but programs write them.
    """
    try:
        return _decode(text)
    except msgspec.MsgspecError as error:
        if "{" not in text or not _UNREADABLE.search(text):
            raise
        try:
            found = LENIENT.decode(text)
            encode(found).encode()  # half of a surrogate pair is no text
        except (ValueError, RecursionError):
            raise error from None
        return found


def _members(line: bytes) -> dict[str, object]:
    """The members of the object that a line is, none if it is not one."""
    try:
        found = _decode(line.removeprefix(b"@cee:"))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


FORMAT = Scanner(
    JsonLines,
    samples=(
        '{"ts": "2026-11-22T20:15:05.120Z", "path": "/a?b=c", "status": 200, '
        '"duration_ms": 48.31, "trace": {"id": 7}}',
        '{"level":"info","ts":1795378505.1204567,"msg":"handled request","request":{"remote_ip":'
        '"203.0.113.7","method":"GET","uri":"/a?b=c","headers":{"User-Agent":["curl/8.7.1"]}},'
        '"duration":0.04831,"size":512,"status":200,"resp_headers":{"Server":["Caddy"]}}',
        '{"start_time":"2026-11-22T20:15:05.120Z","path":"-","response_code":0,"duration":48,'
        '"x_forwarded_for":null,"downstream_remote_address":"[2001:db8::1]:80","host":"a"}',
    ),
)
