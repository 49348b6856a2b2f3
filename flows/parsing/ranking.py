"""Which format lines are of: every format is tried on some of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from connectors.encodings import Encoding
from connectors.errors import MalformedLine
from connectors.sources.content import Content
from connectors.sources.sense import FIRST_LINE, header_before, headers_in, is_directive
from flows.parsing import ANY, EVENTS, FORMATS, OUTER
from flows.parsing.choice import described, headed
from flows.parsing.fields import MISFITS
from flows.parsing.formats.raw import beginning
from flows.parsing.lines import Lines
from flows.parsing.nested import Timeless
from flows.parsing.parser import OK, Format, Row
from flows.parsing.times import WHEN_SEEN

_PROBES = 8  # lines that are tried first: a format that takes none of them takes none
_ONE_BY_ONE = 64  # lines that are looked at at most of those that the compiled part leaves open
_HEAD = 64 * 1024  # bytes in which a file that has headers has one
_ENOUGH = 0.5  # share of the lines that a format takes at least
_SOME = 0.02  # share of them that are worth a format of their own beside it
_MOST_MIXED = 3
_INNER = 0.95  # the same of one within another
_OF_ATTRIBUTES = 0.25  # what an attribute is worth beside a column
_NOT_READ = '"extra":'  # what a format has left as it is
_ODD = 2  # what a value is worth that does not fit its column, a level that is none
_LOOSE = {"api_requests": 2}  # times as much: any words behind a time are of it, but for these
_LEVEL = re.compile(
    "trace|debug|info|notice|warn|err|fatal|crit|alert|emerg|panic|severe|fine|config|verbose|"
    "success|log|statement|detail|hint|context|query|system|dpanic|unknown|audit|security",
    re.IGNORECASE,
)
_STRIKES = {"logfmt": '":true'}  # a word alone: in other lines, each is one

# How lines begin that go on with the one before: see `PRESETS` in connectors/sources/framing.py.
_CONTINUES = re.compile(r"[ \t]|Caused by: |Traceback \(most|\.\.\. \d|at [\w$.]+\(|[\w.]+Error: ")


@dataclass(frozen=True)
class Candidate:
    """How a format takes some lines: so many of them, and what it finds in one.

    `typed` counts the columns that have a value, less those in which a value does not fit. The last
    of the lines are behind the `header`, if the format has any.
    """

    name: str
    taken: int
    lines: int
    typed: float
    header: str = ""

    @property
    def share(self) -> float:
        """The share of the lines that it takes."""
        return self.taken / self.lines

    @property
    def worth(self) -> tuple[int, int]:
        """By which the better one is known; of equal ones the one that `FORMATS` has first."""
        return round(50 * self.share), round(2 * self.typed)


@dataclass(frozen=True)
class Choice:
    """The format of some lines, what takes them next best, and whether lines go on with others."""

    best: Candidate
    next: Candidate | None
    has_events: bool = False

    def __str__(self) -> str:
        best, other = self.best, self.next
        text = f"{best.name} fits {best.taken} of {best.lines} lines"
        return f"{text}, {other.name} {other.taken}" if other else text


_NEVER_INNER = (ANY, *OUTER)  # formats that are in no other one

Headers = Mapping[str, str]
"""How headers begin, as `Headed.header` says -> the one that lines are behind."""


def known_headers(content: Content, start: int, encoding: Encoding) -> Headers:
    """The headers of the lines of a file from `start` on. Raises `OSError`."""
    head, found = content.read(_HEAD, 0), {}
    for form in filter(None, map(headed, FORMATS)):
        # Who has headers has one soon: else it is not worth to look for it.
        if any(headers_in(head, form.header, encoding)):
            header = header_before(content, form.header, start, encoding)
            if form.names_time(header):
                found[form.header] = header
    return found


def choose(
    lines: Sequence[str],
    time_zone: str = "UTC",
    before: str = "",
    headers: Headers | None = None,
) -> Choice | None:
    """The format of lines, each without its end; None: there are no lines.

    They are behind these `headers`; None: they are the first of a file.

    `before` is kept if it fits. Where no format takes half of the lines, it is `raw`. Lines that go
    on with the one before do not count: they look like it, or have no time where all others do.
    """
    heads = [line for line in lines if not _CONTINUES.match(line)] or list(lines)
    if not heads:
        return None
    has_events = len(heads) < len(lines)
    zone = ZoneInfo(time_zone)
    if before and (kept := _try(before, heads, zone, headers)) and kept.share >= _INNER:
        return Choice(kept, None, has_events)
    found = ranked(heads, time_zone, headers, but=(ANY,))
    outer = [one for one in found if one.name in OUTER and one.share >= _INNER]
    found = [inner for one in outer if (inner := _inner(one, heads, zone))] + found
    found.sort(key=lambda one: one.worth, reverse=True)
    if found and (mixed := _mixed(found[0], heads, zone)):
        found.insert(0, mixed)
    if not found or found[0].share < _ENOUGH:
        any_line = _try(ANY, heads, zone) or Candidate(ANY, 0, len(heads), 0)
        found.insert(0, _inner(any_line, heads, zone) or any_line)
    if found[0].name == ANY or found[0].share < _INNER:
        timed = _timed(heads, zone)
        is_clear = timed[:1] == heads[:1] or len(timed) > 1  # else what has no time is no rest
        is_some = is_clear and len(timed) < len(heads) and beginning(timed)
        others = choose(timed, time_zone, headers={}) if is_some else None
        if others and others.best.name != ANY and others.best.share >= _INNER:
            return replace(others, has_events=True)
    return Choice(found[0], found[1] if len(found) > 1 else None, has_events)


def _mixed(best: Candidate, lines: Sequence[str], zone: ZoneInfo) -> Candidate | None:
    """The best format together with those of the lines that it does not take, if these are some."""
    names, rest = [best.name], list(lines)
    if best.header or best.name in EVENTS:
        return None
    while len(names) < _MOST_MIXED:
        rest = _refused(names[-1], rest, zone)
        others = ranked(rest, zone.key, {}) if len(rest) >= _SOME * len(lines) else []
        many = [one for one in others if one.taken >= _SOME * len(lines)]
        if many and many[0].name == ANY and not _have_times(rest, zone):
            del many[0]
        if not many:
            break
        names.append(many[0].name)
    return _try("|".join(names), lines, zone) if len(names) > 1 else None


def _have_times(lines: Sequence[str], zone: ZoneInfo) -> bool:
    """Whether half of these lines have a time somewhere."""
    return 2 * len(_timed(lines, zone)) >= len(lines)


def _timed(lines: Sequence[str], zone: ZoneInfo) -> list[str]:
    """Those of these lines that have a time somewhere."""
    frame = format_of(ANY, zone).columns(_joined(lines))
    known = zip(lines, frame[OK], frame["timestamp"] != WHEN_SEEN, strict=True)
    return [text for text, sure, has in known if (has if sure else has_time(text, zone.key))]


def _refused(name: str, lines: Sequence[str], zone: ZoneInfo) -> list[str]:
    """Those of these lines that a format does not take."""
    certain = format_of(name, zone).columns(_joined(lines))[OK]
    known = zip(lines, certain, strict=True)
    return [text for text, sure in known if not sure and not takes(name, text, zone.key)]


def _joined(lines: Sequence[str]) -> Lines:
    return Lines("".join(f"{line}\n" for line in lines).encode(errors="replace"))


def has_time(line: str, time_zone: str) -> bool:
    """Whether a line has a time somewhere."""
    row = takes(ANY, line, time_zone)
    return row is not None and row["timestamp"] != WHEN_SEEN


def ranked(
    lines: Sequence[str],
    time_zone: str = "UTC",
    headers: Headers | None = None,
    but: Sequence[str] = (),
) -> list[Candidate]:
    """The formats that take some of these lines, the best first, but for some that do not count."""
    zone = ZoneInfo(time_zone)
    tried = (_try(name, lines, zone, headers) for name in FORMATS if name not in but)
    found = [one for one in tried if one and one.typed >= 0]
    return sorted(found, key=lambda one: one.worth, reverse=True)  # equal ones stay in order


def takes(name: str, line: str, time_zone: str, header: str = "") -> Row | None:
    """The row that a format makes of a line, if it is of it."""
    try:
        return format_of(name, ZoneInfo(time_zone), header).line(line)
    except MalformedLine:
        return None


@lru_cache(maxsize=256)
def format_of(name: str, zone: ZoneInfo, header: str = "") -> Format:
    """The format with this name, of lines behind this header."""
    return described(name, header).make(zone)


def _inner(outer: Candidate, lines: Sequence[str], zone: ZoneInfo) -> Candidate | None:
    """The format within another one, as that takes these lines; None: there is none."""
    texts = []
    for line in lines[:: 1 + len(lines) // _ONE_BY_ONE]:
        if row := takes(outer.name, line, zone.key):
            texts.append(str(row.get("message", "")).split("\n")[0])
    texts = [text for text in texts if text and not _CONTINUES.match(text)]
    if not texts:
        return None
    for one in [*ranked(texts, zone.key, {}, _NEVER_INNER), *_timeless(texts, zone)]:
        if one.share >= _INNER:
            return _try(f"{outer.name}:{one.name}", lines, zone)
    return None


def _timeless(lines: Sequence[str], zone: ZoneInfo) -> list[Candidate]:
    """The formats that can do without a time, and that find a message or a request in lines."""
    found = []
    for name in FORMATS:
        form = format_of(name, zone)
        if name not in _NEVER_INNER and isinstance(form, Timeless):
            form = form.timeless()
            rows = _rows(form, lines[:_PROBES])
            if any(row.get("message") or row.get("method") for row in rows):
                found.append(_fit(name, form, lines))
    return sorted(filter(None, found), key=lambda one: one.worth, reverse=True)


def _try(
    name: str, lines: Sequence[str], zone: ZoneInfo, headers: Headers | None = None
) -> Candidate | None:
    """How a format takes these lines; None: it takes none of some."""
    try:
        form = headed(name)
    except ValueError:  # the format of before is known no more
        return None
    last, fits, count = "", list[Candidate](), 0
    for last, some in behind(name, lines, headers):
        count += len(some)
        if form and not last:
            continue
        if fit := _fit(name, format_of(name, zone, last), some):
            fits.append(fit)
    if not count and form and form.names_time(last):
        return Candidate(name, len(lines), len(lines), 0, last)  # its rows are yet to come
    taken = sum(fit.taken for fit in fits)
    typed = sum(fit.typed * fit.taken for fit in fits)
    return Candidate(name, taken, count, typed / taken, last) if taken else None


def behind(
    name: str, lines: Sequence[str], headers: Headers | None = None
) -> Iterator[tuple[str, list[str]]]:
    """The headers of some lines, empty where there is none, and the rows behind each of them."""
    form = headed(name)
    if not form:
        yield "", list(lines)
        return
    begins, rows = form.header, list[str]()
    known = {FIRST_LINE: lines[0] if lines else ""} if headers is None else headers
    header = known.get(begins, "")
    for line in lines:
        if begins and line.startswith(begins):
            yield header, rows
            header, rows = line, []
        elif not is_directive(line, header or begins):
            rows.append(line)
    yield header, rows


def _fit(name: str, form: Format, lines: Sequence[str]) -> Candidate | None:
    probes = lines[:: max(1, len(lines) // _PROBES)]
    if not any(_rows(form, probes)):
        return None
    frame = form.columns(_joined(lines))
    certain = frame.drop_in_place(OK).to_numpy()
    unsure = np.flatnonzero(~certain).tolist()
    some = unsure[:: 1 + len(unsure) // _ONE_BY_ONE]
    others = list(_rows(form, [lines[number] for number in some]))
    sure, each = int(certain.sum()), len(unsure) / max(1, len(some))
    taken = sure + round(each * len(others))
    if not taken:
        return None
    strike = _STRIKES.get(name.rpartition(":")[2], "\0")
    odd = _ODD * _LOOSE.get(name, 1)
    typed = _typed(frame.filter(certain), strike) if sure else 0.0
    typed += each * sum(_typed_in(row, strike, odd) for row in others)
    return Candidate(name, taken, len(lines), typed / taken)


def _rows(form: Format, lines: Iterable[str]) -> Iterator[Row]:
    """The rows of the lines that a format takes."""
    for line in lines:
        try:
            yield form.line(line)
        except MalformedLine:
            continue


def _typed(rows: pl.DataFrame, strike: str) -> float:
    """How many values the columns have."""
    count = 0.0
    for name, dtype in rows.schema.items():
        column = rows[name]
        if name == "attributes":
            count += _members("".join(column.to_list()), strike)
        elif name == "level":
            count += sum(map(_level, column.to_list()))
        elif dtype == pl.String:
            count += int((column != "").sum())
        elif name != "timestamp":
            count += int((column != 0).sum())
    return count


def _typed_in(row: Row, strike: str, odd: int) -> float:
    misfits, attributes = row.get(MISFITS, ()), row.get("attributes", "")
    assert isinstance(misfits, tuple)
    assert isinstance(attributes, str)
    columns = {name for name, value in row.items() if value} - _APART
    named = len(columns) + _level(row.get("level")) + _members(attributes, strike)
    return named - odd * len(misfits)


_APART = {MISFITS, "timestamp", "attributes", "level"}


def _level(word: object) -> int:
    """What a level is worth."""
    return (1 if _LEVEL.match(str(word)) else -_ODD) if word else 0


def _members(attributes: str, strike: str) -> float:
    """What attributes are worth, as they are written."""
    members = attributes.count('":') - attributes.count(_NOT_READ)
    return _OF_ATTRIBUTES * members - attributes.count(strike)
