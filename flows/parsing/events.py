"""Events of several lines: a format reads the first one, the others belong to the message."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from connectors.encodings import UTF_8
from flows.parsing.lines import Flags, Lines, Numbers

if TYPE_CHECKING:
    from flows.parsing.parser import Row

MESSAGE = "message"

OPEN_QUOTE = "open_quote"
"""Why a line is refused in which a quote does not end; it may in another line of the event."""


def lines_of_events(text: bytes, counts: Numbers) -> Lines:
    """Events of so many lines each, of a text whose last line may lack its newline."""
    ends = Lines(text).starts
    return Lines(text, ends[np.concatenate(([0], np.cumsum(counts)))])


def split(text: str) -> tuple[str, str]:
    """The first line of an event, and the others."""
    head, _, rest = text.partition("\n")
    return head.removesuffix("\r"), rest.replace("\r\n", "\n").rstrip("\n")


def with_rest(row: Row, rest: str) -> Row:
    """The row of a first line, and the other lines as part of its message."""
    if rest:
        row[MESSAGE] = "\n".join(part for part in (str(row.get(MESSAGE, "")), rest) if part)
    return row


_CRI = re.compile(r"(\S+ \w+ )(\S+) ?(.*)", re.DOTALL)


def _join_cri(lines: list[str]) -> str:
    found = [match for line in lines if (match := _CRI.fullmatch(line))]
    tag = found[-1][2]
    parts = [one[3] if one[2].startswith("P") else one[3] + "\n" for one in found]
    return found[0][1] + tag + " " + "".join(parts).removesuffix("\n")


def _join_docker(lines: list[str]) -> str:
    found = [json.loads(line) for line in lines]
    text = "".join(str(one["log"]) for one in found)
    head, newline, rest = text.partition("\n")
    return json.dumps({**found[0], "log": head + newline}, ensure_ascii=False) + "\n" + rest


JOINS = {"cri": _join_cri, "docker": _join_docker}
"""Formats whose lines have parts of what a program wrote -> what makes of those of an event a line
with the first line of it, and behind that the others."""


def whole_text(container: str, text: str) -> str:
    """An event as `JOINS` makes it, if it has several lines that are all of the container."""
    lines = text.removesuffix("\n").split("\n")
    if container not in JOINS or len(lines) == 1:
        return text
    try:
        joined = JOINS[container](lines)
        joined.encode()  # half of a surrogate pair is no text
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):  # a line of another kind
        return text
    return joined


def whole_texts(container: str, events: Lines) -> Lines:
    """The same for all events that are text; others are left as they are."""
    if container not in JOINS:
        return events
    several = np.flatnonzero(Heads(events).several)
    starts, at, pieces = events.starts.tolist(), 0, list[bytes]()
    sizes = np.diff(events.starts)
    for number in several.tolist():
        raw = events.data[starts[number] : starts[number + 1]]
        try:
            text = whole_text(container, raw.decode()).removesuffix("\n").encode() + b"\n"
        except UnicodeDecodeError:
            continue
        pieces += [events.data[at : starts[number]], text]
        at = starts[number + 1]
        sizes[number] = len(text)
    pieces.append(events.data[at:])
    return Lines(b"".join(pieces), np.concatenate(([0], np.cumsum(sizes))))


class Heads:
    """The first lines of events, and what is behind each."""

    def __init__(self, events: Lines) -> None:
        self._events = events
        ends = UTF_8.ends(events.data)
        begins = events.starts[:-1]
        first = np.searchsorted(ends, begins, "right")
        self._middles = np.minimum(np.append(ends, len(events.data))[first], events.starts[1:])
        self.several = self._middles < events.starts[1:]
        several = np.flatnonzero(self.several)
        self.lines = Lines(*self._first_lines(several)) if len(several) else events
        self._several = several

    def _first_lines(self, several: Numbers) -> tuple[bytes, Numbers]:
        """The bytes of all first lines, and where each begins: all between two rests at once."""
        view = memoryview(self._events.data)
        begins, middles = self._events.starts, self._middles
        lows = np.concatenate(([begins[0]], begins[1:][several]))
        highs = np.append(middles[several], begins[-1])
        pieces = [view[low:high] for low, high in zip(lows.tolist(), highs.tolist(), strict=True)]
        sizes = middles - begins[:-1]
        return b"".join(pieces), np.concatenate(([0], np.cumsum(sizes)))

    def put_rests(self, frame: pl.DataFrame, certain: pl.Series) -> tuple[pl.DataFrame, pl.Series]:
        """The rows of the first lines with their whole messages, and which of them are certain."""
        if not len(self._several):
            return frame, certain
        rests, is_text = self._rests()
        message = (
            frame[MESSAGE] if MESSAGE in frame.columns else pl.repeat("", len(frame), eager=True)
        )
        both = pl.select(
            pl.when(rests == "")
            .then(message)
            .when(message == "")
            .then(rests)
            .otherwise(pl.concat_str(message, pl.lit("\n"), rests))
            .alias(MESSAGE)
        )
        certain = certain if is_text is None else certain & pl.Series(is_text)
        return frame.with_columns(both[MESSAGE]), certain

    def _rests(self) -> tuple[pl.Series, Flags | None]:
        """What is behind each first line, and of which events all bytes are text (None: of all)."""
        events, text = self._events, self._events.text
        places = np.empty(2 * len(events) + 1, np.int64)
        places[::2], places[1::2] = events.starts, self._middles
        array = pa.LargeStringArray.from_buffers(
            2 * len(events), pa.py_buffer(places), pa.py_buffer(text)
        )
        rests = pl.Series(array).gather_every(2, 1).str.strip_chars_end("\r\n")
        if b"\r\n" in text:
            rests = rests.str.replace_all("\r\n", "\n", literal=True)
        if text is events.data:
            return rests, None
        differs = np.frombuffer(text, np.uint8) != np.frombuffer(events.data, np.uint8)
        return rests, np.add.reduceat(differs, events.starts[:-1]) == 0
