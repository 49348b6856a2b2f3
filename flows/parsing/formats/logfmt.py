r"""Format `logfmt`: `key=value key="quoted \"value\"" flag`.

Nobody has standardised it. Here it is what the documentation of kr/logfmt (package logfmt, its
grammar) and the decoder of go-logfmt take, and what writers make:

- Pairs stand between spaces or control characters. A key has no `=` and no `"`.
- A value is a word without `"`, or a text in quotes. The word may have `=` in it, which those two
  refuse, and which means one thing only: `path=/a?b=c`.
- Escapes in quotes are those of JSON, which go-logfmt writes, and those of Go's strconv.Quote,
  which log/slog and logrus write. What means no character stays as it is.
- A key alone is `true`, as kr/logfmt has it.
- Colours for a terminal are no part of a line: logrus and others write them.
- A priority of syslog (RFC 3164, section 4.1.1) in front, as firewalls write it, is the level of a
  line that says none.

Keys become columns as in JSON. There are no types, so every value is a text, in `attributes` too; a
number is read from it where a column wants one. A known key without a value, or with the word
`null`, which go-logfmt writes for nil, is as good as missing; so is `-` for a number. Of a repeated
key, the last counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from zoneinfo import ZoneInfo

import polars as pl

from connectors.errors import MalformedLine
from flows.parsing.choice import Scanner
from flows.parsing.colours import bare
from flows.parsing.dialects import SYSLOG
from flows.parsing.keys import (
    Table,
    columns_of,
    dialect_of,
    row_of,
    without_colours,
)
from flows.parsing.lines import Lines
from flows.parsing.parser import Row
from native.lines import Form

_SEPARATORS = "".join(map(chr, range(ord(" ") + 1)))
_PAIR = re.compile(
    r'([^\0- ="]+)(?:=("[^"\\]*(?:\\.[^"\\]*)*"|[^\0- "]*))?(?:[\0- ]+|\Z)', re.DOTALL
)
_HEX = "[0-9A-Fa-f]"
_ESCAPE = re.compile(
    (
        rf"\\(?:u([dD][89abAB]{_HEX}{{2}})\\u([dD][c-fC-F]{_HEX}{{2}})"  # two halves of UTF-16
        rf"|u({_HEX}{{4}})|U({_HEX}{{8}})|x({_HEX}{{2}})|(.))"
    ).encode(),
    re.DOTALL,
)
_NAMES = dict(zip(b'"\\/abfnrtv', b'"\\/\a\b\f\n\r\t\v', strict=True))
_MISSING = ("", '""', "null")
_PRIORITY = re.compile("^<(1?[0-9]?[0-9])> *", re.MULTILINE | re.ASCII)
_PRIORITIES = re.compile(_PRIORITY.pattern.encode(), re.MULTILINE)


class Logfmt:
    """See the module's docstring."""

    def __init__(
        self, time_zone: ZoneInfo, duration_shift: int, *, needs_time: bool = True
    ) -> None:
        self._zone = time_zone
        self._shift = duration_shift
        self._needs_time = needs_time

    def timeless(self) -> Logfmt:
        """The same for lines that may have no time."""
        return type(self)(self._zone, self._shift, needs_time=False)

    def line(self, text: str) -> Row:
        """One line. Raises `MalformedLine`."""
        pairs = dict(_pairs(_PRIORITY.sub(_level, without_colours(text), 1)))
        known = Table.of(dialect_of(pairs)).keys
        found = {key: _meaning(value, key in known) for key, value in pairs.items()}
        return row_of(found, self._zone, self._shift, needs_time=self._needs_time)

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those that are not as usual are left open."""
        lines = bare(lines)
        if len(lines.beginning_with(ord("<"))):
            lines = lines.changed(partial(_PRIORITIES.sub, _level_of_bytes))
        return columns_of(
            Form.LOGFMT, lines, _members, self._zone, self._shift, needs_time=self._needs_time
        )


def _level(priority: re.Match[str]) -> str:
    """A priority as a pair; of a repeated key, the last counts."""
    return f"level={SYSLOG[str(int(priority.group(1)) % 8)]} "


def _level_of_bytes(priority: re.Match[bytes]) -> bytes:
    return _PRIORITY.sub(_level, priority.group().decode()).encode()


def _pairs(text: str) -> Iterator[tuple[str, str | None]]:
    """The keys of a line and their values as written, None for a key alone."""
    text, at = text.strip(_SEPARATORS), 0
    while at < len(text):
        found = _PAIR.match(text, at)
        if not found:
            raise MalformedLine("bad_logfmt", f"{text[at : at + 64]!r} is not key=value")
        yield found.group(1), found.group(2)
        at = found.end()


def _meaning(value: str | None, is_known: bool) -> object:
    """What `row_of` is to be told of a value."""
    if is_known and (value is None or value in _MISSING):
        return None
    if value is None:
        return True
    return _unescape(value[1:-1]) if value.startswith('"') else value


def _unescape(text: str) -> str:
    """Undo the escapes; bytes that are not UTF-8, and what is no character, stay escaped."""
    if "\\" not in text:
        return text
    return _ESCAPE.sub(_character, text.encode()).decode(errors="backslashreplace")


def _character(found: re.Match[bytes]) -> bytes:
    high, low, unit, point, octet, name = found.groups()
    if octet:
        return bytes.fromhex(octet.decode())
    if name:
        return bytes([_NAMES[name[0]]]) if name[0] in _NAMES else found.group()
    if high:
        return bytes.fromhex((high + low).decode()).decode("utf-16-be").encode()
    try:
        return chr(int(unit or point, 16)).encode()
    except (ValueError, OverflowError):  # half of a character, or beyond all of them
        return found.group()


def _members(line: bytes) -> dict[str, str]:
    """The pairs of a line, and of a malformed one what looks like pairs."""
    return dict(_PAIR.findall(line.decode(errors="replace")))


FORMAT = Scanner(
    Logfmt,
    samples=(
        'ts=2026-11-22T20:15:05.120Z path="/a?b=c" status=200 duration_ms=48.31 '
        'msg="say \\"hello\\"" cached',
    ),
)
