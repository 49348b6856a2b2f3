"""Which lines of a file are one event, so that a trace is one record.

A line is looked at by itself; what stands before it counts for the head of a trace only. So the
events of bytes that begin with an event are the same whoever reads them, as long as he likes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from connectors.encodings import UTF_8, Encoding

MOST_LINES, MOST_BYTES = 5000, 1024 * 1024
"""What an event has at most: what follows is an event of its own."""

LONG_LINES = 1000
"""Lines of an event of which it is worth to ask whether they belong to it."""

QUIET_SECONDS = 5.0
"""How long a file must not have grown before the event at its end is taken as whole."""

BEGINS, HEADS, ENDS, CONTINUES, INDENTED, LINKS, EMPTY = range(7)
"""Kinds of lines: one that begins an event; the head of a trace, which belongs to the line before
if that begins an event, and else begins one; the end of a trace, which belongs to an indented line
before; one that continues an event, the same by its indentation; one that continues an event, as
the head behind it does; one without any text, which continues an event but is none."""

# Beside the kind, of lines of a container: the stream, and whether the next one goes on.
_KIND, _STREAM, _STDOUT, _STDERR, _PART = 0b111, 0b11000, 0b01000, 0b10000, 0b100000

_BELONGS = {HEADS: (BEGINS, LINKS), ENDS: (INDENTED,)}

Kinds = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]

NO_CUTS: Numbers = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Rules:
    """Regular expressions (of Rust) of how lines begin that are of a kind; see `BEGINS`.

    Lines of none of them continue an event if there is one for those that begin one, else they
    begin one, unless they are indented.
    """

    begins: str = ""
    heads: str = ""
    ends: str = ""
    continues: str = ""
    links: str = ""
    indented: bool = True

    def kinds(self, lines: pl.Series) -> Kinds:
        """The kind of each of these lines, which have no ends."""
        kinds = np.full(len(lines), CONTINUES if self.begins else BEGINS, np.uint8)
        for kind, rule in (
            (INDENTED, r"[ \t]" if self.indented else ""),
            (BEGINS, self.begins),
            (ENDS, self.ends),
            (CONTINUES, self.continues),
            (HEADS, self.heads),
            (LINKS, self.links),
        ):
            if rule:
                kinds[lines.str.contains(f"^(?:{rule})").to_numpy()] = kind
        kinds[(lines.str.len_bytes() == 0).to_numpy()] = EMPTY
        return kinds


# Of each, the way in which the language's runtime and its common loggers print a trace. None of its
# lines begins with a digit or an opening brace, as most lines do that begin an event.
PRESETS = {
    "indent": Rules(),
    "parts": Rules(indented=False),  # no more than what a container's runtime has split
    "java": Rules(
        # Throwable.printStackTrace; the second line of java.util.logging
        heads=r"(?:[\p{L}_$][\p{L}\p{N}_$]*\.)+[\p{L}_$][\p{L}\p{N}_$]*(?:: .*|:?$)",
        continues=r"Caused by: |Suppressed: |\.\.\. \d+ ",
        links=r"(?:SEVERE|WARNING|INFO|CONFIG|FINE|FINER|FINEST): ",
    ),
    "python": Rules(
        # traceback.print_exception
        heads=r"Traceback \(most recent call last\):$",
        ends=r"[\p{L}_][\p{L}\p{N}_.]*(?:: |:?$)",
        links=r"During handling of the above exception, another exception occurred:$|"
        r"The above exception was the direct cause of the following exception:$",
    ),
    "go": Rules(
        # runtime: panics, fatal errors, SIGQUIT; the stacks of zap
        continues=r"goroutine \d+ |created by |\[signal |\[originating |exit status \d|"
        r"runtime stack:$|PC=0x|(?:r\w{1,2}|e?flags|[cfg]s|rip) +0x[0-9a-f]+$|"
        r"[\w./~%-]+(?:\.\(\*?[\w\[\]., ]+\))?(?:\.[\w\[\]./-]+)*"
        r"\((?:0x|\.\.\.|\{|\)|[\w?]+[,)]).*\)?$|"
        r"[\w./~%-]+\.(?:\(\*?[\w\[\]., ]+\)\.)?[\w\[\].-]+$",
    ),
    "ruby": Rules(
        # Exception#full_message, where a cause looks like another exception; Rails' DebugExceptions
        continues=r"\S+:\d+:in [`'].*(?:'|\([A-Z][\w:]*\))$|[A-Z]\w*(?:::\w+)* \(.*\):?$|Causes:$",
    ),
    "dotnet": Rules(
        # Exception.ToString
        heads=r"(?:Unhandled exception\. )?(?:[A-Z]\w*\.)+\w*(?:Exception|Error)\b",
        continues=r"--->|--- End of ",
    ),
    "js": Rules(
        # V8's error.stack, and Node's inspection of what an error has besides
        heads=r"(?:Uncaught )?(?:[\w$]*(?:Error|Exception))(?: \[\w+\])?(?:: |$)",
        continues=r"[}\])]+[,;]?$|Node\.js v\d",
    ),
    "php": Rules(
        # uncaught exceptions; Monolog's LineFormatter, as Laravel has it
        continues=r"Stack trace:$|PHP Stack trace:$|PHP +\d+\. |#\d+ |\[stacktrace\]$|"
        r"\[previous exception\]|Next [A-Z\\][\w\\]*|\"\}|thrown in ",
    ),
}
"""Values of `LOG_MULTILINE` that have a name."""


@dataclass(frozen=True)
class Container:
    """How a container's runtime keeps what was written: the `text` and `stream` of a `line`.

    Of `escapes` those are undone by which a line may begin. `is_part` says whether the next line of
    the stream goes on in the same line of the program, of the groups that were found.
    """

    line: str
    is_part: Callable[[Any], pl.Series]
    escapes: Mapping[str, str] = field(default_factory=dict)


CONTAINERS = {
    "cri": Container(
        r"^\S+ (?<stream>\w+) (?<tags>\S+) ?(?<text>.*)$",
        lambda found: found.field("tags").str.starts_with("P"),
    ),
    "docker": Container(
        r'^\{"log":"(?<text>(?:[^"\\]|\\.)*?)(?<end>\\n)?","stream":"(?<stream>\w+)"',
        lambda found: found.field("text").is_not_null() & found.field("end").is_null(),
        {r"\\": "\\", r"\t": "\t", r"\"": '"', r"\u003e": ">", r"\r": "\r"},
    ),
}
"""Formats in which a line has a part of what a program wrote: its definition is in the file of that
name in flows/parsing/formats."""


@dataclass(frozen=True)
class Framing:
    """How lines are put together: `text` is what `LOG_MULTILINE` says, and what a proof keeps.

    In lines of a `container`, before whose text its name and a colon are, their texts are.
    """

    text: str
    rules: Rules
    container: Container | None = None

    @classmethod
    def of(cls, text: str) -> Framing | None:
        """What a value of `LOG_MULTILINE` means; None: each line is a record.

        It is a name of `PRESETS`, how lines begin that begin an event, or, behind `continues:`, how
        those do that continue one. Raises `ValueError`.
        """
        return _framing(text) if text else None

    def kinds(self, data: bytes, ends: Numbers, encoding: Encoding, stray: int = 0) -> Kinds:
        """The kind of every line of `data`; `ends` are the positions behind them.

        The first `stray` bytes are the rest of a character.
        """
        if not len(ends):
            return np.zeros(0, np.uint8)
        text = data
        if not (encoding.is_utf8 and _is_valid(data)):
            # As many lines, whatever they are made of.
            text = data[stray : ends[-1]].decode(encoding.name, "replace").encode()
            found = UTF_8.ends(text)
            ends = found if len(found) == len(ends) else np.append(found, len(text))
        return self._kinds(text, np.concatenate(([0], ends)))

    def _kinds(self, text: bytes, starts: Numbers) -> Kinds:
        if self.container:
            return _within(self.container, self.rules, _lines(text, starts))
        rules = self.rules
        kinds = np.full(len(starts) - 1, BEGINS, np.uint8)
        asked = np.arange(len(kinds))
        if rules.indented:
            first = np.frombuffer(text, np.uint8).take(starts[:-1], mode="clip")
            kinds[(first == ord(" ")) | (first == ord("\t"))] = INDENTED
            is_usual = (first >= ord("0")) & (first <= ord("9")) | (first == ord("{"))
            asked = np.flatnonzero(~is_usual & (kinds == BEGINS))
        if len(asked):
            kinds[asked] = rules.kinds(_lines(text, starts, asked))
        return kinds


def _is_valid(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _lines(text: bytes, starts: Numbers, numbers: Numbers | None = None) -> pl.Series:
    """The lines with these numbers, without their ends and the filler before them."""
    buffers = (pa.py_buffer(starts.astype(np.int64)), pa.py_buffer(text))
    lines = pl.Series(pa.LargeStringArray.from_buffers(len(starts) - 1, *buffers))
    if numbers is not None and len(numbers) < len(lines):
        lines = lines.gather(numbers)
    lines = lines.str.strip_suffix("\n").str.strip_suffix("\r")
    return lines.str.strip_chars_start("\0") if b"\0" in text else lines


def _within(container: Container, rules: Rules, lines: pl.Series) -> Kinds:
    """The kinds of the texts in the lines of a container, each with its stream."""
    found = lines.str.extract_groups(container.line).struct
    text, stream = found.field("text"), found.field("stream")
    if container.escapes:
        text = text.str.replace_many(container.escapes)
    kinds = rules.kinds(text.fill_null(""))
    kinds[text.is_null().to_numpy()] = BEGINS
    kinds |= (stream == "stdout").fill_null(False).to_numpy() * np.uint8(_STDOUT)
    kinds |= (stream == "stderr").fill_null(False).to_numpy() * np.uint8(_STDERR)
    kinds |= container.is_part(found).fill_null(False).to_numpy() * np.uint8(_PART)
    return kinds


_CONTINUES = "continues:"


@lru_cache(maxsize=64)
def _framing(text: str) -> Framing:
    outer, colon, inner = text.partition(":")
    if colon and outer in CONTAINERS:
        return Framing(text, _framing(inner).rules, CONTAINERS[outer])
    if text in PRESETS:
        return Framing(text, PRESETS[text])
    if text.isidentifier():
        raise ValueError(
            f"{text!r} is unknown; known are {', '.join(PRESETS)}, a regular expression of how "
            f"events begin, and {_CONTINUES} with one of how their other lines do"
        )
    rule = text.removeprefix(_CONTINUES)
    try:
        pl.Series([""]).str.contains(f"^(?:{rule})")
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{rule!r} is no regular expression: {error}") from error
    kind = "continues" if text.startswith(_CONTINUES) else "begins"
    return Framing(text, Rules(**{kind: rule}, indented=False))


@dataclass(frozen=True)
class Frame:
    """Lines as records: `firsts` are the numbers of the lines that records begin with.

    `order` has the numbers of all lines, those of a record one after another; None: so they are.
    `bounds` are the numbers of lines before and behind which no record has lines, in order, that
    behind the last one included. What follows may belong to lines from number `open` on.
    """

    firsts: Numbers
    bounds: Numbers
    open: int
    order: Numbers | None = None


def frame(
    kinds: Kinds, starts: Numbers, ends: Numbers, cuts: Numbers = NO_CUTS, size: int = 0
) -> Frame:
    """Which lines are a record; the first line always begins one.

    So do those that begin at one of the sorted `cuts`, and what follows when an event has all that
    one may have. `size` is where the begun line behind them ends as yet.
    """
    size = max(size, int(ends[-1])) if len(ends) else 0
    if (kinds >= _STDOUT).any():
        return _frame_streams(kinds, starts, ends, cuts, size)
    count = len(kinds)
    begins = _begins(kinds)
    if len(cuts):
        begins |= np.isin(starts, cuts)
    firsts = np.flatnonzero(begins)
    behind = np.append(firsts[1:], count)
    large = _large(firsts, behind - 1, starts, ends) if count else NO_CUTS
    if len(large):
        more: list[int] = []
        for number in large.tolist():
            at, end = int(firsts[number]), int(behind[number])
            while at < end:
                more.append(at)
                # An empty line is not more than that, as at the beginning.
                at = at + 1 if kinds[at] == EMPTY else _limit(at, starts, ends)
        firsts = np.union1d(firsts, np.array(more, np.int64))
    bounds = np.append(firsts[1:], count)
    return Frame(firsts, bounds, _opened(firsts[-1:], firsts, starts, count, size))


def _begins(kinds: Kinds) -> npt.NDArray[np.bool_]:
    """Which of the lines of one stream begin an event."""
    count = len(kinds)
    begins: npt.NDArray[np.bool_] = kinds == BEGINS
    has_text = kinds != EMPTY
    for kind, owners in _BELONGS.items():
        asking = np.flatnonzero(kinds == kind)
        if len(asking):
            last = np.maximum.accumulate(np.where(has_text, np.arange(count), -1))
            before = np.where(asking > 0, last[asking - 1], -1)
            begins[asking[(before < 0) | ~np.isin(kinds[before], owners)]] = True
    lead = int(np.argmax(has_text)) if has_text.any() else count
    begins[: lead + 1] = True
    return begins


def _limit(first: int, starts: Numbers, ends: Numbers) -> int:
    """The first line that is too much behind this one."""
    fits = int(np.searchsorted(ends, starts[first] + MOST_BYTES, "right"))
    return min(first + MOST_LINES, max(first + 1, fits))


def _frame_streams(kinds: Kinds, starts: Numbers, ends: Numbers, cuts: Numbers, size: int) -> Frame:
    """The same where streams are mixed; what nobody can part within the limit is cut there, too."""
    count = len(kinds)
    owners = np.arange(count)
    bounds: list[Numbers] = []
    stops = [*np.flatnonzero(np.isin(starts, cuts)).tolist(), count] if len(cuts) else [count]
    at = opened = 0
    for stop in stops:
        while at < stop:
            mine, last = _owners(kinds[at:stop], starts[at:stop], ends[at:stop])
            low = np.minimum.accumulate(mine[::-1])[::-1]
            begins = at + np.flatnonzero(low >= np.arange(len(mine)))
            behind = np.append(begins[1:], stop)
            large = _large(begins, behind - 1, starts, ends)
            end = _limit(int(begins[large[0]]), starts, ends) if len(large) else stop
            owners[at:end] = at + mine[: end - at]
            bounds += [behind[: large[0]], np.array([end])] if len(large) else [behind]
            opened = _opened(at + last, begins, starts, count, size)
            at = end
    firsts = np.flatnonzero(owners == np.arange(count))
    is_mixed = bool((np.diff(owners) < 0).any())
    order = np.argsort(owners, kind="stable") if is_mixed else None
    return Frame(firsts, np.concatenate(bounds), opened, order)


def _owners(kinds: Kinds, starts: Numbers, ends: Numbers) -> tuple[Numbers, Numbers]:
    """The number of the line with which the event of each line begins; and of the last events."""
    owners = np.arange(len(kinds))
    last = []
    for stream in np.unique(kinds & _STREAM):
        lines = np.flatnonzero(kinds & _STREAM == stream)
        while len(lines):
            firsts = np.flatnonzero(_begins(_of_stream(kinds[lines])))
            behind = np.append(firsts[1:], len(lines))
            large = _large(lines[firsts], lines[behind - 1], starts, ends)
            count = len(lines)
            if len(large):  # what is behind the limit is as if it were first
                limit = _limit(int(lines[firsts[large[0]]]), starts, ends)
                count = int(np.searchsorted(lines, limit))
                firsts = firsts[firsts < count]
            sizes = np.diff(firsts, append=count)
            owners[lines[:count]] = np.repeat(lines[firsts], sizes)
            lines = lines[count:]
        last.append(int(owners[np.flatnonzero(kinds & _STREAM == stream)[-1]]))
    return owners, np.array(last)


def _of_stream(kinds: Kinds) -> Kinds:
    """The kinds of the lines of one stream; what is no line of its own continues an event."""
    parts = kinds & _PART > 0
    mine: Kinds = kinds & np.uint8(_KIND)
    mine[1:][parts[:-1]] = CONTINUES
    if mine[0] == EMPTY:
        mine[0] = BEGINS
    return mine


def _large(firsts: Numbers, lasts: Numbers, starts: Numbers, ends: Numbers) -> Numbers:
    """Which of the events from a line to another one have more than they may."""
    sizes = ends[lasts] - starts[firsts]
    return np.flatnonzero((lasts - firsts >= MOST_LINES) | (sizes > MOST_BYTES))


def _opened(last: Numbers, begins: Numbers, starts: Numbers, count: int, size: int) -> int:
    """From where on lines may get more: of the `last` events, those that have not all they may."""
    is_open = (count - last < MOST_LINES) & (size - starts[last] <= MOST_BYTES)
    if not is_open.any():
        return count
    return int(begins[np.searchsorted(begins, last[is_open].min(), "right") - 1])


def is_rest(kinds: Kinds, firsts: Numbers) -> npt.NDArray[np.bool_]:
    """Which of the records begin with a line that continues an event."""
    found: npt.NDArray[np.bool_] = np.isin(kinds[firsts] & _KIND, (CONTINUES, INDENTED, LINKS))
    return found
