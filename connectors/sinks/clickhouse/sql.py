"""Parameters of statements as ClickHouse has them: with types, and lists of any length.

Its HTTP interface takes 128 KiB a parameter (`http_max_field_value_size`), and any number of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_MOST = 60_000  # bytes before they are escaped, which may double them

_MEANINGS = {
    "instance": "{instance:String}",
    "table": "{table:Identifier}",
    "before": "(now64(6, 'UTC') - toIntervalDay({days:UInt32}))",  # the server's clock counts
    "files": "{files:Array(UInt64)}",
    "places": "{places:Array(Tuple(UInt64, UInt64))}",
    "reason": "{reason:String}",
    **{name: f"{{{name}:Array(String)}}" for name in ("sources", "names", "reasons", "details")},
}


def in_own_words(statement: str) -> str:
    """A statement of `connectors/sinks/sql.py`, with parameters of ClickHouse's."""
    return re.sub(
        r":(\w+)", lambda name: _MEANINGS.get(name[1], f"{{{name[1]}:UInt64}}"), statement
    )


def with_short_lists(statement: str, values: Mapping[str, object]) -> tuple[str, dict[str, object]]:
    """The same statement, with every list that is too long for one parameter in several of them."""
    bound: dict[str, object] = {}
    for name, value in values.items():
        parts = list(_parts(value)) if isinstance(value, list) else []
        if len(parts) < 2:
            bound[name] = value
            continue
        several = {f"{name}_{number}": part for number, part in enumerate(parts)}
        bound |= several
        joined = ", ".join(f"{{{one}:\\1}}" for one in several)
        statement = re.sub(rf"\{{{name}:([^}}]+)\}}", f"arrayConcat({joined})", statement)
    return statement, bound


def _parts(values: list[Any]) -> Iterator[list[Any]]:
    begin = size = 0
    for number, value in enumerate(values):
        bytes_ = len(str(value).encode()) + 4
        if size + bytes_ > _MOST and number > begin:
            yield values[begin:number]
            begin, size = number, 0
        size += bytes_
    yield values[begin:]
