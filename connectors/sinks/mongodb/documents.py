"""Lines as documents of MongoDB, and what the collection demands of them.

The `_id` is the line's place: 16 bytes, `file_id` and `offset`, each with its highest byte first.
So a line that is written again meets itself, and the order of `_id` is that of the lines.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any

import bson
import numpy as np
import polars as pl
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument

from connectors.batch import ENRICHED, PLACE, Span, Stream, columns_with, with_nulls

Document = dict[str, Any]

NO_PLACES = pl.DataFrame(schema=dict.fromkeys(PLACE, pl.UInt64))
DAY = 86_400 * 10**6  # microseconds
_LARGEST = 16 * 1024 * 1024  # bytes of a document, and levels: "Limits" of MongoDB's manual
_LEVELS = 100
_SHORT = 1024  # bytes of a dead letter that is too large

# Characters that the name of a field cannot have, or that no query finds it by.
_UNFIT = re.compile(r"[.%\0]|^\$")

# A dot would take a newline for an end, and so would a dollar: neither is meant.
_END = r"(?![\s\S])"
_MARKS = ("visitor", "view_args", "view_kwargs", "request_data")
_OF_EVENTS: dict[str, Document] = {
    "request_path": {"bsonType": "string", "pattern": rf"^(/[^\n]*)?{_END}"},
    "event_name": {"bsonType": "string", "pattern": rf"^event\.[^\n]+{_END}"},
    "view_args": {"bsonType": "array"},
    "view_kwargs": {"bsonType": "object"},
    "request_data": {"bsonType": "object"},
}
_PYTHON = {"string": str, "array": list, "object": dict}
_IS_NO_EVENT = {
    "not": {
        "required": ["attributes"],
        "properties": {
            "attributes": {
                "required": ["event_name"],
                "anyOf": [{"required": [name]} for name in _MARKS],
            }
        },
    }
}
_IS_GOOD_EVENT = {
    "properties": {
        "request_path": _OF_EVENTS["request_path"],
        "attributes": {
            "properties": {n: rule for n, rule in _OF_EVENTS.items() if n != "request_path"}
        },
    }
}


def _bson_type(type_: pl.DataType) -> str | list[str]:
    if type_.is_integer():
        return ["int", "long"]
    return {"String": "string", "Boolean": "bool", "Float64": "double"}.get(str(type_), "date")


SCHEMA: Document = {
    "bsonType": "object",
    "required": ["_id", "timestamp", "timestamp_us", "day", *PLACE],
    "properties": {
        **{name: {"bsonType": _bson_type(type_)} for name, type_ in columns_with(ENRICHED).items()},
        "_id": {"bsonType": "binData"},
        "timestamp_us": {"bsonType": ["int", "long"]},
        "day": {"bsonType": "int"},
        "attributes": {"bsonType": "object"},
    },
    "anyOf": [_IS_NO_EVENT, _IS_GOOD_EVENT],
}
"""The validator of the collection of lines: MongoDB's `$jsonSchema`.

An event of the web is a row whose attributes have `event_name` and one of `_MARKS`.
"""


def ids(lines: pl.DataFrame) -> list[bytes]:
    """The `_id` of each line."""
    data = lines.select(PLACE).to_numpy().astype(">u8").tobytes()
    return [data[at : at + 16] for at in range(0, len(data), 16)]


def id_of(file_id: int, offset: int) -> bytes:
    """The `_id` of the line at this place."""
    return file_id.to_bytes(8, "big") + offset.to_bytes(8, "big")


def between(file_id: int, first: int, last: int) -> Document:
    """The lines of a file from `first` to before `last`, as a filter."""
    return {"_id": {"$gte": id_of(file_id, first), "$lt": id_of(file_id, last)}}


def span_of(entry: Document) -> Span:
    """What the ledger says of a stream."""
    stream = Stream(entry["file_id"], entry["path"], entry["stream"])
    start, end, first, lines, proof = (
        entry[name] for name in ("start", "end", "first_line", "lines", "proof")
    )
    return Span(stream, start, end, first, lines, proof)


def places_of(batch: bytes) -> pl.DataFrame:
    """The places of documents that have nothing but their `_id`: 31 bytes each, 16 at the 14th."""
    data = np.frombuffer(batch, np.uint8).reshape(-1, 31)[:, 14:30]
    return pl.DataFrame(np.ascontiguousarray(data).view(">u8").astype(np.uint64), schema=PLACE)


def of_rows(rows: pl.DataFrame) -> Iterator[RawBSONDocument | str]:
    """Each row as a document, or why it is none.

    A date has milliseconds in BSON: `timestamp_us` has the same in microseconds since 1970.
    `day` is whole days since then. What is null is left out.
    """
    time = pl.col("timestamp").dt.replace_time_zone(None)
    us = time.to_physical()
    columns = with_nulls(rows.drop("line", strict=False)).with_columns(
        timestamp=time, timestamp_us=us, day=(us // DAY).cast(pl.Int32)
    )
    for place, values in zip(ids(rows), columns.iter_rows(), strict=True):
        named = zip(columns.columns, values, strict=True)
        document = {"_id": place, **{name: value for name, value in named if value is not None}}
        try:
            if "attributes" in document:
                document["attributes"] = attributes_of(document["attributes"])
            made = RawBSONDocument(bson.encode(document))
        except (BSONError, OverflowError, RecursionError) as error:
            yield str(error)
            continue
        if len(made.raw) > _LARGEST:
            yield f"it is a document of {len(made.raw)} bytes, and MongoDB takes {_LARGEST}"
        else:
            yield why_not(document) or made


def of_letters(letters: pl.DataFrame) -> Iterator[RawBSONDocument]:
    """Each dead letter as a document; of one that is too large the beginning of its line."""
    now = datetime.now(timezone.utc)
    columns = letters.drop("line")
    for place, values in zip(ids(letters), columns.iter_rows(), strict=True):
        document = {"_id": place, **dict(zip(columns.columns, values, strict=True)), "seen_at": now}
        made = RawBSONDocument(bson.encode(document))
        if len(made.raw) > _LARGEST:
            made = RawBSONDocument(bson.encode({**document, "raw": document["raw"][:_SHORT]}))
        yield made


def attributes_of(text: str) -> Document:
    """What MongoDB can hold of a JSON object.

    In names `.`, a first `$`, NUL and `%` are percent-encoded. A number that no 64 bits hold is its
    text, and half a surrogate pair its escape. Raises `OverflowError`, `RecursionError`.
    """
    found: Document = _fit(json.loads(text, parse_float=_number), 2)
    return found


def why_not(document: Document) -> str:
    """What `SCHEMA` would say of an event of the web; empty: nothing."""
    attributes = document.get("attributes", {})
    if "event_name" not in attributes or attributes.keys().isdisjoint(_MARKS):
        return ""
    given = {**attributes, "request_path": document.get("request_path", "")}
    for name in _OF_EVENTS.keys() & given:
        type_, pattern = _OF_EVENTS[name]["bsonType"], _OF_EVENTS[name].get("pattern", "")
        if not isinstance(given[name], _PYTHON[type_]):
            return f"{name}: it must be of the type {type_}"
        if pattern and not re.search(pattern, given[name]):
            return f"{name}: it must match {pattern}"
    return ""


def words_of(details: object, name: str = "") -> Iterator[str]:
    """What MongoDB's `errInfo` says, part by part."""
    if isinstance(details, dict):
        name = details.get("propertyName", name)
        if "reason" in details:
            value = (
                f", it is {details['consideredValue']!r}" if "consideredValue" in details else ""
            )
            yield f"{name or details.get('operatorName', '')}: {details['reason']}{value}"
    inner: Sequence[object] = ()
    if isinstance(details, dict):
        inner = list(details.values())
    elif isinstance(details, list):
        inner = details
    for part in inner:
        yield from words_of(part, name)


def _fit(value: Any, level: int) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict | list) and level > _LEVELS:
        raise OverflowError(f"it has more than {_LEVELS} levels")
    if isinstance(value, dict):
        return {_name(name): _fit(inner, level + 1) for name, inner in value.items()}
    if isinstance(value, list):
        return [_fit(inner, level + 1) for inner in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)
    return value


def _name(name: str) -> str:
    fitting: str = _fit(name, 0)
    return _UNFIT.sub(lambda found: f"%{ord(found[0]):02X}", fitting)


def _number(text: str) -> float | str:
    value = float(text)
    return value if math.isfinite(value) else text
