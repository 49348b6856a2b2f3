"""Format `csv`: comma-separated values behind a line that names them (RFC 4180).

The first line of the file is the header. Its names mean what they mean as keys of JSON, whatever
their capitals; the others are attributes. One has to be a time, or `date` and `time` next to each
other. Values may be in quotes, with two quotes for one. The separator is a comma, a semicolon or a
bar: the one that the header has most of. A record over several lines is a dead letter
(`open_quote`), and what follows of it has no time. Lines that are behind no header, as of a stream
of Redis, are `timestamp`, `level` and `message`.
"""

from __future__ import annotations

from itertools import pairwise

from flows.parsing.cells import CLOCK, Columns, HeadedFormat, named, names_in
from flows.parsing.layout import Field

_KNOWN = {
    "date": Field("date", "timestamp", time=None),
    "time": Field("time", CLOCK),
}
_OF_EVENTS = {
    name: Field(name, column, time=None, empty=())
    for column, names in {
        "timestamp": ("date and time", "timecreated", "timegenerated"),
        "level": ("leveldisplayname", "entrytype"),
    }.items()
    for name in names
}


def columns(header: str, shift: int, separators: str = ",;|") -> Columns:
    """What the first line of a file says, whose separator is the one that it has most of."""
    separator = max(separators, key=header.count)
    names = [name.strip() for name in names_in(header.removeprefix("#"), separator)]
    lower = [name.lower() for name in names]
    known = _OF_EVENTS | _KNOWN if ("date", "time") in pairwise(lower) else _OF_EVENTS
    if lower[-1:] == ["task category"]:
        names.append("message")  # the Event Viewer does not name it
    return Columns(named(names, known, shift), separator)


FORMAT = HeadedFormat(
    "",
    "timestamp,level,message",
    columns,
    samples=(
        "2026-11-22T20:15:05.120Z,info,listening on port 8080",
        '2026-11-22T20:15:06Z,warning,"a ""slow"" query, 3 s"',
    ),
)
