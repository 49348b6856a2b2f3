"""Which lines of a file are one event, so that a trace is one record.

A line is looked at by itself; what stands before it counts for the head of a trace only. So the
events of bytes that begin with an event are the same whoever reads them, as long as he likes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from connectors.encodings import UTF_8, Encoding

MOST_LINES, MOST_BYTES = 5000, 1024 * 1024
"""What an event has at most: what follows is an event of its own."""

QUIET_SECONDS = 5.0
"""How long a file must not have grown before the event at its end is taken as whole."""

BEGINS, HEADS, ENDS, CONTINUES, INDENTED, LINKS, EMPTY = range(7)
"""Kinds of lines: one that begins an event; the head of a trace, which belongs to the line before
if that begins an event, and else begins one; the end of a trace, which belongs to an indented line
before; one that continues an event, the same by its indentation; one that continues an event, as
the head behind it does; one without any text, which continues an event but is none."""

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


# Of each, the way in which the language's runtime and its common loggers print a trace. None of its
# lines begins with a digit or an opening brace, as most lines do that begin an event.
PRESETS = {
    "indent": Rules(),
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
class Framing:
    """How lines are put together: `text` is what `LOG_MULTILINE` says, and what a proof keeps."""

    text: str
    rules: Rules

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
        rules = self.rules
        kinds = np.full(len(starts) - 1, CONTINUES if rules.begins else BEGINS, np.uint8)
        first = np.frombuffer(text, np.uint8).take(starts[:-1], mode="clip")
        if rules.indented:
            kinds[(first == ord(" ")) | (first == ord("\t"))] = INDENTED
            is_usual = (first >= ord("0")) & (first <= ord("9")) | (first == ord("{"))
            asked = np.flatnonzero(~is_usual & (kinds == BEGINS))
        else:
            asked = np.arange(len(kinds))
        if len(asked):
            lines = _lines(text, starts, asked)
            for kind, rule in (
                (BEGINS, rules.begins),
                (ENDS, rules.ends),
                (CONTINUES, rules.continues),
                (HEADS, rules.heads),
                (LINKS, rules.links),
            ):
                if rule:
                    kinds[asked[lines.str.contains(f"^(?:{rule})").to_numpy()]] = kind
            kinds[asked[(lines.str.len_bytes() == 0).to_numpy()]] = EMPTY
        return kinds


def _is_valid(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _lines(text: bytes, starts: Numbers, numbers: Numbers) -> pl.Series:
    """The lines with these numbers, without their ends and the filler before them."""
    buffers = (pa.py_buffer(starts.astype(np.int64)), pa.py_buffer(text))
    lines = pl.Series(pa.LargeStringArray.from_buffers(len(starts) - 1, *buffers))
    if len(numbers) < len(lines):
        lines = lines.gather(numbers)
    lines = lines.str.strip_suffix("\n").str.strip_suffix("\r")
    return lines.str.strip_chars_start("\0") if b"\0" in text else lines


_CONTINUES = "continues:"


@lru_cache(maxsize=64)
def _framing(text: str) -> Framing:
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


def frame(kinds: Kinds, starts: Numbers, ends: Numbers, cuts: Numbers = NO_CUTS) -> Numbers:
    """The numbers of the lines that begin a record; the first one always does.

    So do those that begin at one of the sorted `cuts`, and what follows when an event has all that
    one may have.
    """
    count = len(kinds)
    begins = kinds == BEGINS
    has_text = kinds != EMPTY
    for kind, owners in _BELONGS.items():
        asking = np.flatnonzero(kinds == kind)
        if len(asking):
            last = np.maximum.accumulate(np.where(has_text, np.arange(count), -1))
            before = np.where(asking > 0, last[asking - 1], -1)
            begins[asking[(before < 0) | ~np.isin(kinds[before], owners)]] = True
    lead = int(np.argmax(has_text)) if has_text.any() else count
    begins[: lead + 1] = True
    if len(cuts):
        begins |= np.isin(starts, cuts)
    firsts = np.flatnonzero(begins)
    behind = np.append(firsts[1:], count)
    sizes = ends[behind - 1] - starts[firsts] if count else NO_CUTS
    large = np.flatnonzero((behind - firsts > MOST_LINES) | (sizes > MOST_BYTES))
    if not len(large):
        return firsts
    more: list[int] = []
    for number in large.tolist():
        at, end = int(firsts[number]), int(behind[number])
        while at < end:
            more.append(at)
            if kinds[at] == EMPTY:  # as at the beginning
                at += 1
                continue
            fits = int(np.searchsorted(ends, starts[at] + MOST_BYTES, "right"))
            at = min(at + MOST_LINES, max(at + 1, fits))
    return np.union1d(firsts, np.array(more, np.int64))


def is_rest(kinds: Kinds, firsts: Numbers) -> npt.NDArray[np.bool_]:
    """Which of the records begin with a line that continues an event."""
    found: npt.NDArray[np.bool_] = np.isin(kinds[firsts], (CONTINUES, INDENTED, LINKS))
    return found
