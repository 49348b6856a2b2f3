"""Keys of lines and what they mean, for all formats that have them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, cached_property, lru_cache
from itertools import chain
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import polars as pl

from connectors.errors import MalformedLine, Why
from flows.parsing.compiled import nothing, read_lines
from flows.parsing.dialects import DIALECTS, USUAL, Alias, Dialect
from flows.parsing.fields import (
    MAX_UINT16,
    MAX_UINT64,
    MISFITS,
    NO_VALUE,
    encode,
    go_duration,
    number,
    seconds,
)
from flows.parsing.lines import Lines
from flows.parsing.parser import OK, Row
from flows.parsing.times import any_time, epoch, instant, way_of
from native.lines import MOST_KEYS, Form, Key, Keys, Kind, Tell

WHOLE_NUMBERS = {"status_code": MAX_UINT16, "bytes_sent": MAX_UINT64}
"""Columns of whole numbers, and the largest of them."""

NUMBERS = {*WHOLE_NUMBERS, "duration"}
"""Columns of numbers, for which some programs write `-` where there is none."""

_KINDS = {
    "timestamp": Kind.TIME,
    "status_code": Kind.SMALL,
    "bytes_sent": Kind.LARGE,
    "duration": Kind.SECONDS,
}
_SAMPLE = 50
_COMMON = 50

COLOURS = r"\x1b\[[0-?]*[ -/]*[@-~]"
"""What terminals take for colours and the like: control sequences (ECMA-48, section 5.4)."""

_COLOURS = re.compile(COLOURS)
REQUEST, _PROTOCOL = "request", "protocol"
_ASKED = r"([A-Z]+) ([^ ]+) (HTTP/[0-9](?:\.[0-9])?)"
_MAY_ASK = r'"request":(?:null|"(?:"|[A-Z]+ [^ ]+ HTTP/))'
_WITH_PORT = re.compile(r"\[([^\[\]]*)\]:[0-9]{1,5}|([^:\[\]]*):[0-9]{1,5}")
_MISSING = object()
_TIMES = {alias.key: alias for alias in USUAL.aliases if alias.column == "timestamp"}
_WORD = re.compile("[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SAYS_TIME = re.compile(
    ".*(?:time|stamp|date)|at|ts|rt|utc|epoch|millis|created?|published|when|occurr?ed|generated"
)
_SAYS_ANOTHER = re.compile(  # a time of something else, or how long something takes
    "expir|until|next|valid|birth|last|first|seen|updat|modif|end|boot|install|process|renew|"
    "up|run|life|real|elapsed|response|request|total|wait|cpu|duration|took|not|zone|format"
)
_NAMES_TIME = {"time", "timestamp", "date", "start", "seconds"}
_SAYS_TAKEN = re.compile("receiv|ingest|insert|index")  # when others took a line
_DEPTH = 4  # objects within objects in which a time is looked for
_LIKELY = (10**9, 4 * 10**9)  # seconds, from 2001 to 2096: other numbers are rather no time

Path = tuple[str, ...]
"""The way to a value: keys of objects, and numbers of the elements of lists."""


class Known(NamedTuple):
    """A place where a value with a meaning may be; the lesser its rank, the sooner it counts."""

    rank: int
    path: Path
    alias: Alias


@dataclass(frozen=True, eq=False)
class Table:
    """What the keys of a line of one dialect mean."""

    dialect: Dialect
    firsts: dict[str, list[Known]] = field(default_factory=dict)
    """The places, by the key at the top of the line."""

    @classmethod
    @cache
    def of(cls, dialect: Dialect) -> Table:
        """Its own keys, then the usual ones."""
        table = cls(dialect)
        own = {alias.key for alias in dialect.aliases} | dialect.plain
        ranked = [*dialect.aliases, *(one for one in USUAL.aliases if one.key not in own)]
        for rank, alias in enumerate(ranked):
            for path in dict.fromkeys(((alias.key,), alias.path)):
                known = Known(2 * rank + (len(path) > 1), path, alias)
                table.firsts.setdefault(path[0], []).append(known)
        return table

    @cached_property
    def keys(self) -> frozenset[str]:
        """Those whose own value may have a meaning, not just what is within it."""
        places = chain.from_iterable(self.firsts.values())
        return frozenset(known.path[0] for known in places if len(known.path) == 1)

    def places(self, found: Mapping[str, object]) -> list[Known]:
        """Where values may be in a line, the first that fits a column counts."""
        keys = found.keys() & self.firsts.keys()
        return sorted(known for key in keys for known in self.firsts[key])


_TOLD: dict[str, list[tuple[int, frozenset[str]]]] = {}
for _place, _dialect in enumerate(DIALECTS):
    for _tell in _dialect.tells:
        _TOLD.setdefault(_tell[0], []).append((_place, frozenset(_tell)))


def dialect_of(keys: Mapping[str, object]) -> Dialect:
    """The dialect of a line with these keys."""
    told = [
        place
        for key in keys.keys() & _TOLD.keys()
        for place, tell in _TOLD[key]
        if keys.keys() >= tell
    ]
    return DIALECTS[min(told)] if told else USUAL


def row_of(found: dict[str, object], zone: ZoneInfo, shift: int, *, needs_time: bool = True) -> Row:
    """The row of one line, whose keys and values are these. Raises `MalformedLine`.

    Of durations whose unit nobody names, 10^shift are a second. A value that does not fit its
    column stays under its own key, in the attributes.
    """
    table = Table.of(dialect_of(found))
    row: Row = {}
    misfits: list[str] = []
    no_time: Why | None = None
    # All are looked up before one is taken out: that moves the elements of a list.
    places = [(path, alias, _at(found, path)) for _, path, alias in table.places(found)]
    for path, alias, value in places:
        column = alias.column
        if value is _MISSING or _at(found, path) is not value:
            continue
        if _is_nothing(alias, value):
            _take(found, path)
        elif column not in row:
            try:
                meant = _value(alias, value, zone, shift)
            except MalformedLine as refusal:
                meant, no_time = None, no_time or refusal.why
            if meant is None:
                misfits.append(column)
            else:
                row[column] = meant
                if not (alias.address and isinstance(value, str) and "," in value):
                    _take(found, path)
    if needs_time and "timestamp" not in row:
        moment = _date_and_time(found, zone)
        if moment:
            misfits = [column for column in misfits if column != "timestamp"]
        if moment := moment or _within(found, zone) or _elsewhere(found, zone):
            row["timestamp"] = moment
    if needs_time and "timestamp" not in row:
        raise MalformedLine(*(no_time or ("no_timestamp", "none of the keys that mean a time")))
    _take_request(table, found, row)
    if table.dialect.unsaid and not row.get("level"):
        row["level"] = table.dialect.unsaid
    if found:
        row["attributes"] = encode(found)
    if misfits:
        row[MISFITS] = tuple(misfits)
    return row


def _take_request(table: Table, found: dict[str, object], row: Row) -> None:
    """Method, path and protocol of `request`, as nginx has it, where no other key has a part.

    A text that is no request line stays as it is; an empty one is none.
    """
    if REQUEST not in found or REQUEST in table.firsts or row.keys() & {"method", "request_path"}:
        return
    text = found[REQUEST]
    asked = re.fullmatch(_ASKED, text) if isinstance(text, str) else None
    if text is None or text == "":
        del found[REQUEST]
    elif asked and _PROTOCOL not in found:
        del found[REQUEST]
        row["method"], row["request_path"], found[_PROTOCOL] = asked.groups()


def _within(found: Mapping[str, object], zone: ZoneInfo) -> datetime | None:
    """The time of the first object in a line that has one, where the line itself has none."""
    for value in found.values():
        if not isinstance(value, dict):
            continue
        for key, alias in _TIMES.items():
            if key in value:
                with suppress(MalformedLine):
                    moment = _value(alias, value[key], zone, 0)
                    assert isinstance(moment, datetime)
                    return moment
    return None


def _date_and_time(found: dict[str, object], zone: ZoneInfo) -> datetime | None:
    """The time of a line that has a day, a clock, and maybe a zone; day and clock are taken out."""
    day, clock = found.get("date"), found.get("time")
    if not isinstance(day, str) or not isinstance(clock, str):
        return None
    offset = found.get("tz") or found.get("timezone")
    for behind in (f" {offset}", "") if offset else ("",):
        with suppress(MalformedLine):
            moment = any_time(f"{day} {clock}{behind}", zone)
            del found["date"], found["time"]
            return moment
    return None


def _elsewhere(found: Mapping[str, object], zone: ZoneInfo) -> datetime | None:
    """The time under the first key whose words say that it is one, the outer objects first.

    Where there is none, that under the first in whose words there is one, as in `TimeGenerated`, at
    last one of what took the line, as in `TimeReceived`.
    """
    for says in (_says_time, _names_time, _names_taking):
        objects: list[Mapping[str, object]] = [found]
        for _ in range(_DEPTH):
            for each in objects:
                for key, value in each.items():
                    if isinstance(value, (str, int, float)) and says(key):
                        moment = _likely(value, zone)
                        if moment:
                            return moment
            objects = [one for each in objects for one in each.values() if isinstance(one, dict)]
    return None


@lru_cache(maxsize=10_000)
def _says_time(key: str) -> bool:
    """Whether a key such as `creationTime` means the time of a line, by its words."""
    words = _words(key)
    if not words or not _SAYS_TIME.fullmatch(words[-1]):
        return False
    return not any(_SAYS_ANOTHER.match(word) or _SAYS_TAKEN.match(word) for word in words)


@lru_cache(maxsize=10_000)
def _names_time(key: str) -> bool:
    """Whether a key such as `EventTimeString` has a time in its words."""
    words = _words(key)
    is_other = any(_SAYS_ANOTHER.match(word) or _SAYS_TAKEN.match(word) for word in words)
    return not _NAMES_TIME.isdisjoint(words) and not is_other


@lru_cache(maxsize=10_000)
def _names_taking(key: str) -> bool:
    """Whether a key such as `TimeReceived` has the time at which a line was taken."""
    words = _words(key)
    is_time = any(map(_SAYS_TIME.fullmatch, words))
    return (
        is_time and any(map(_SAYS_TAKEN.match, words)) and not any(map(_SAYS_ANOTHER.match, words))
    )


def _words(key: str) -> list[str]:
    """The words of a key, in lower case."""
    return [word.lower() for word in _WORD.findall(key)]


def _likely(value: str | float, zone: ZoneInfo) -> datetime | None:
    """The time that a value means, if it is one of our days: others are rather no time."""
    amount = _number(value)
    first, end = _LIKELY
    units = (1, 10**3, 10**6, 10**9)
    if amount is not None and not any(first * unit <= amount < end * unit for unit in units):
        return None
    with suppress(MalformedLine):
        moment = any_time(str(value), zone) if amount is None else epoch(amount)
        return moment if moment.year > 1970 else None  # which stands for none
    return None


def _at(found: object, path: Path) -> object:
    """What is there, `_MISSING` if nothing."""
    for step in path:
        if isinstance(found, dict):
            found = found.get(step, _MISSING)
        elif isinstance(found, list) and step.isdigit() and int(step) < len(found):
            found = found[int(step)]
        else:
            return _MISSING
    return found


def _take(found: object, path: Path) -> None:
    """Take out what is there, and what then is empty around it."""
    within = _at(found, path[:1])
    if len(path) > 1:
        _take(within, path[1:])
    if len(path) == 1 or not within:
        if isinstance(found, dict):
            del found[path[0]]
        elif isinstance(found, list):
            del found[int(path[0])]


def _is_nothing(alias: Alias, value: object) -> bool:
    """Whether a value says that there is none."""
    if not isinstance(value, str):
        return value is None
    return (alias.column in NUMBERS and value in NO_VALUE) or alias.names.get(value) == ""


def _value(alias: Alias, value: object, zone: ZoneInfo, shift: int) -> object:
    """What a value means in its column, None if it does not fit; if no time, `MalformedLine`."""
    if alias.column == "timestamp":
        moment = _number(value)
        if moment is not None:
            return epoch(moment)
        if isinstance(value, str):
            return any_time(value, zone)
        if isinstance(value, dict) and (parts := instant(value)):
            return parts
        raise MalformedLine("bad_timestamp", f"{alias.key} is {encode(value)[:64]}")
    if alias.column == "duration":
        duration = _number(value)
        if duration is None:
            return go_duration(value) if isinstance(value, str) else None
        return seconds(duration, alias.shift_or(shift))
    if alias.column in WHOLE_NUMBERS:
        whole = _number(value)
        if whole is None or not 0 <= whole <= WHOLE_NUMBERS[alias.column] or whole % 1:
            return None
        return int(whole)
    if alias.octets and isinstance(value, list):
        return _text_of(value)
    text = value if isinstance(value, str) else encode(value)
    if text in alias.names:
        return alias.names[text]
    if alias.address:
        first = text.partition(",")[0]
        address = _WITH_PORT.fullmatch(first)
        return address.group(address.lastindex or 0) if address else first
    return without_colours(text) if alias.column == "level" else text


def without_colours(text: str) -> str:
    """A text as it would be if it had not been meant for a terminal."""
    return _COLOURS.sub("", text) if "\x1b" in text else text


def _text_of(octets: list[Any]) -> str | None:
    """A text that is written as its bytes."""
    try:
        return bytes(octets).decode(errors="backslashreplace")
    except (TypeError, ValueError):
        return None


def _number(value: object) -> int | float | None:
    """A number, or a text that is one."""
    if isinstance(value, str):
        return number(value)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def columns_of(
    form: Form,
    lines: Lines,
    members: Callable[[bytes], dict[str, Any]],
    zone: ZoneInfo,
    shift: int,
    *,
    needs_time: bool = True,
    spell: Callable[[Keys], Keys] = lambda keys: keys,
) -> pl.DataFrame:
    """All lines at once; those that are not as usual, or not of the most usual dialect, are open.

    `members` are the keys and values of a line, if it is one; `spell` says how they are written. Of
    durations whose unit nobody names, 10^shift are a second.
    """
    places = range(len(lines))
    chosen = sorted({*places[:_SAMPLE], *places[-_SAMPLE:]})
    shapes: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for each in chosen:
        found = members(lines.raw(each))
        shapes.setdefault(tuple(found), []).append(found)
    dialects: dict[Dialect, list[tuple[str, ...]]] = {}
    for shape in shapes:
        dialects.setdefault(dialect_of(dict.fromkeys(shape)), []).append(shape)
    if not dialects:
        return nothing(lines)
    dialect = max(dialects, key=lambda each: sum(len(shapes[shape]) for shape in dialects[each]))
    mine = {each: shapes[each] for each in dialects[dialect]}
    keys = _keys(dialect, mine, shift)
    asks = REQUEST not in Table.of(dialect).firsts and any(
        key.name == REQUEST for key in keys.all[: keys.top]
    )
    are_asked = asks and _are_asked(keys, mine)
    if are_asked:
        line = Key(REQUEST, REQUEST, Kind.TEXT)
        keys = keys._replace(all=[line if key.name == REQUEST else key for key in keys.all])
    keys = spell(keys)
    if needs_time and all(key.kind is not Kind.TIME for key in keys.all):
        return nothing(lines)
    frame = read_lines(form, lines, keys, zone)
    if asks:
        frame = (_with_request if are_asked else _without_request)(frame)
    may_be_coloured = form is not Form.PAIRS or b"\x1b" in lines.data
    if (
        may_be_coloured
        and "level" in frame.columns
        and frame["level"].str.contains("\x1b", literal=True).any()
    ):
        frame = frame.with_columns(pl.col("level").str.replace_all(COLOURS, ""))
    if dialect.unsaid:
        said = pl.col("level") if "level" in frame.columns else pl.lit("")
        frame = frame.with_columns(
            level=pl.when(said == "").then(pl.lit(dialect.unsaid)).otherwise(said)
        )
    return frame


def _are_asked(keys: Keys, shapes: Mapping[tuple[str, ...], list[dict[str, Any]]]) -> bool:
    """Whether most values of the key `request` are what is to be taken apart."""
    columns = {key.column for key in keys.all}
    if columns & {"method", "request_path"} or any(_PROTOCOL in shape for shape in shapes):
        return False
    texts = [line[REQUEST] for lines in shapes.values() for line in lines if line.get(REQUEST)]
    asked = sum(isinstance(one, str) and bool(re.fullmatch(_ASKED, one)) for one in texts)
    return 2 * asked > len(texts)


def _with_request(frame: pl.DataFrame) -> pl.DataFrame:
    """The parts of the column `request`; what is none of it is left open."""
    if "attributes" not in frame.columns:
        frame = frame.with_columns(attributes=pl.lit("{}"))
    text, others = pl.col(REQUEST), pl.col("attributes")
    asked = text.str.extract_groups(rf"\A{_ASKED}\z").struct
    method, path, protocol = (asked.field(part) for part in ("1", "2", "3"))
    added = pl.concat_str(
        others.str.head(-1),
        pl.when(others == "{}").then(pl.lit("")).otherwise(pl.lit(",")),
        pl.lit(f'"{_PROTOCOL}":"'),
        protocol,
        pl.lit('"}'),
    )
    return frame.with_columns(
        method.fill_null("").alias("method"),
        path.fill_null("").alias("request_path"),
        added.fill_null(others).alias("attributes"),
        pl.col(OK) & (method.is_not_null() | (text == "")),
    ).drop(REQUEST)


def _without_request(frame: pl.DataFrame) -> pl.DataFrame:
    """The same where it is an attribute: those that `_take_request` would take are left open."""
    if "attributes" not in frame.columns:
        return frame
    may_ask = pl.col("attributes").str.contains(_MAY_ASK)
    for column in {"method", "request_path"} & {*frame.columns}:
        may_ask &= pl.col(column) == ""
    return frame.with_columns(pl.col(OK) & ~may_ask)


class _Node:
    """A key that the compiled part is told of, and those within its values."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.known: Known | None = None
        self.within: dict[str, _Node] = {}

    def add(self, known: Known, path: Path) -> None:
        """A place in the values of this key, or itself."""
        if path:
            self.within.setdefault(path[0], _Node(path[0])).add(known, path[1:])
        else:
            self.known = known


def _keys(
    dialect: Dialect, shapes: Mapping[tuple[str, ...], list[dict[str, Any]]], shift: int
) -> Keys:
    """How the compiled part shall read lines like these.

    A line with another key is left open, and one in which another key has a value for a column than
    in most of these.
    """
    counts: Counter[str] = Counter()
    for shape, lines in shapes.items():
        counts.update(dict.fromkeys(shape, len(lines)))
    # Keys that are rare are not worth a column: there may be any number of them.
    least = sum(map(len, shapes.values())) / _COMMON
    common = dict(counts.most_common(MOST_KEYS))
    top = {
        key: _Node(key)
        for key, count in counts.items()
        if count >= least
        and key in common
        and encode(key)[1:-1] == key  # what stands in a line is the key itself
    }
    table = Table.of(dialect)
    for key in top.keys() & table.firsts.keys():
        for known in table.firsts[key]:
            top[key].add(known, known.path[1:])
    places = sorted(known for key in top for known in table.firsts.get(key, ()))
    sample = [line for lines in shapes.values() for line in lines]
    main = _main(places, sample)
    nodes = list(top.values())
    firsts = []
    for node in nodes:  # which grow meanwhile
        firsts.append(len(nodes))
        nodes.extend(node.within.values())
    numbers = {node.known: place for place, node in enumerate(nodes) if node.known}
    named = {key: place for place, key in enumerate(top)}
    ours = DIALECTS.index(dialect) if dialect.tells else len(DIALECTS)
    return Keys(
        [
            _key(node, first, main, numbers, shift)
            for node, first in zip(nodes, firsts, strict=True)
        ],
        len(top),
        [
            Tell(tuple(named[key] for key in tell), place == ours)
            for place, each in enumerate(DIALECTS[: ours + 1])
            for tell in each.tells
            if named.keys() >= set(tell)
        ],
        untold=not dialect.tells,
        way=_way(main.get("timestamp"), sample),
    )


def _way(place: Known | None, lines: Sequence[dict[str, Any]]) -> bytes:
    """The codes of the times there, if the first of them is not written as usual."""
    for line in lines if place else ():
        assert place
        if isinstance(text := _at(line, place.path), str):
            way = way_of(text)
            return way.codes if way else b""
    return b""


def _main(places: Sequence[Known], lines: Sequence[dict[str, Any]]) -> dict[str, Known]:
    """The place of the value of each column in most of these lines."""
    found: dict[str, Counter[Known]] = {}
    for known in places:
        found.setdefault(known.alias.column, Counter())[known] = 0
    for column, wins in found.items():
        if len(wins) == 1 and all(len(known.path) == 1 for known in wins):
            continue  # as nearly always
        for line in lines:
            for known in wins:
                value = _at(line, known.path)
                if not (value is _MISSING or _is_nothing(known.alias, value)):
                    wins[known] += 1
                    break
        found[column] = +wins
    return {column: max(wins, key=wins.__getitem__) for column, wins in found.items() if wins}


def _key(
    node: _Node, first: int, main: Mapping[str, Known], numbers: Mapping[Known, int], shift: int
) -> Key:
    """How a key is read."""
    inside = len(node.within)
    if node.known is None:
        return Key(node.name, "attributes", Kind.ATTRIBUTE, first=first, inside=inside)
    alias, best = node.known.alias, main.get(node.known.alias.column)
    none = ("", "-") if alias.column in NUMBERS else ()
    if best is node.known:
        kind = _KINDS.get(alias.column, Kind.TEXT)
        if alias.names or alias.address or alias.octets:
            kind = Kind.NAMED
        words = tuple(alias.names.items())
    else:
        kind = Kind.LESSER if best and best < node.known else Kind.NOTHING
        words = (
            *((word, "") for word in none),
            *(pair for pair in alias.names.items() if not pair[1]),
        )
    return Key(
        node.name,
        alias.column,
        kind,
        alias.shift_or(shift),
        words,
        alias.address,
        first,
        inside,
        numbers[best] if best else 0,
    )
