"""The part of the API that hands out all rows that a filter takes, however many: `/logs/export`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from io import BytesIO
from typing import Annotated, Literal

import polars as pl
from fastapi import FastAPI, Query
from fastapi.responses import StreamingResponse

from api.logs import ROUTES, WhatIsAsked, logs_of, selection
from api.rows import shown
from api.streaming import Streamed
from connectors.filters import TYPES
from connectors.logs import Logs, Place, Row, Selection
from connectors.store import Reader

_WINDOW = 60 * 10**6  # microseconds, of the first question
_FEWEST, _FIRST, _MOST = 10, 500, 10_000  # rows of a page
_BYTES = 8 * 1024 * 1024  # that a page should have

# A spreadsheet takes what begins so for a formula (OWASP, CSV Injection).
_FORMULA = "^[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]"

_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"  # Arrow IPC, streaming format


def add_export(app: FastAPI, reader: Reader) -> None:
    """Add `/logs/export`, which answers from this reader."""

    @app.get(
        "/logs/export",
        summary="All rows, as a file",
        tags=["logs"],
        response_class=StreamingResponse,
        responses={
            **ROUTES,
            200: {
                "content": {
                    media: {"schema": {"type": "string", "format": "binary"}}
                    for media, *_ in _FORMATS.values()
                },
                "description": "The file. One that breaks off before its end is not whole.",
            },
        },
    )
    async def export(
        asked: WhatIsAsked,
        format_: Annotated[
            Literal["csv", "ndjson", "arrow"],
            Query(
                alias="format",
                description="CSV with a line of names, in which `'` stands before what a "
                "spreadsheet would take for a formula; a JSON object a line; or Arrow's IPC "
                "stream, with the types of the columns.",
            ),
        ] = "csv",
        order: Annotated[
            Literal["newest", "oldest"], Query(description="Which rows come first.")
        ] = "newest",
    ) -> StreamingResponse:
        """All rows that a filter takes, each once, with whole texts.

        Rows that arrive meanwhile are in it if their place is still to come.
        """
        rows = logs_of(reader)
        chosen = replace(await selection(rows, asked), is_whole=True)
        pages = _pages(rows, chosen, is_newest_first=order == "newest")
        # What fails at once is answered as an error. (A default that is a tuple breaks `anext`.)
        first = await anext(pages, None) or []
        media, write, ending = _FORMATS[format_]

        async def written() -> AsyncGenerator[bytes, None]:
            yield write(_frame(first, chosen.columns), True)
            async for page in pages:
                if page:
                    yield write(_frame(page, chosen.columns), False)
            yield ending

        return Streamed(
            written(),
            media,
            {
                "Content-Disposition": f'attachment; filename="logs.{format_}"',
                "Cache-Control": "no-store",
            },
        )


async def _pages(
    rows: Logs, chosen: Selection, *, is_newest_first: bool
) -> AsyncGenerator[Sequence[Row], None]:
    """All rows by place, a span of time after another, of which some may be empty.

    A store without an index by time reads a whole span for each page. So spans are about as long
    as a page, and pages as large as `_BYTES`.
    """
    start, end, after = chosen.start, chosen.end, None
    width, most = _WINDOW, _FIRST
    while start < end:
        if is_newest_first:
            span = replace(chosen, start=max(start, end - width), end=end)
        else:
            span = replace(chosen, start=start, end=min(start + width, end))
        page = await rows.rows(span, most, is_newest_first=is_newest_first, after=after)
        yield page
        if len(page) == most:
            last = page[-1]
            after = Place(last["timestamp"], last["file_id"], last["offset"])
            passed = abs(after.time - (end if is_newest_first else start))
            width = max(2 * passed, 1)
            near = after.time + is_newest_first
        else:
            after, width = None, 4 * width
            near = span.start if is_newest_first else span.end
        start, end = (start, near) if is_newest_first else (near, end)
        if page:
            size = sum(len(one) for row in page for one in row.values() if isinstance(one, str))
            fitting = _BYTES * len(page) // (size + len(page))
            most = max(_FEWEST, min(_MOST, 2 * most, fitting))


def _frame(page: Sequence[Row], columns: Sequence[str]) -> pl.DataFrame:
    """A page with the types of its columns."""

    def column(name: str) -> pl.Series:
        dtype, values = TYPES[name], [row[name] for row in page]
        if isinstance(dtype, pl.Datetime):
            return pl.Series(name, values, pl.Int64).cast(dtype)
        if dtype == pl.Boolean():
            values = [None if value is None else bool(value) for value in values]
        return pl.Series(name, values, dtype)

    return pl.DataFrame([column(name) for name in columns])


def _csv(rows: pl.DataFrame, is_first: bool) -> bytes:
    texts = [name for name in rows.columns if TYPES[name] == pl.String()]
    harmless = (
        pl.when(pl.col(name).str.contains(_FORMULA))
        .then(pl.lit("'") + pl.col(name))
        .otherwise(pl.col(name))
        .alias(name)
        for name in texts
    )
    made = shown(rows, whole=True).with_columns(harmless)
    made.write_csv(file := BytesIO(), include_header=is_first, quote_style="non_numeric")
    return file.getvalue()


def _ndjson(rows: pl.DataFrame, is_first: bool) -> bytes:
    shown(rows, whole=True).write_ndjson(file := BytesIO())
    return file.getvalue()


def _arrow(rows: pl.DataFrame, is_first: bool) -> bytes:
    rows.write_ipc_stream(file := BytesIO(), compat_level=pl.CompatLevel.oldest())
    stream = file.getvalue().removesuffix(_END_OF_STREAM)
    # the schema is told once: it is a mark, its size, and no more
    return stream[0 if is_first else 8 + int.from_bytes(stream[4:8], "little") :]


_FORMATS: dict[str, tuple[str, Callable[[pl.DataFrame, bool], bytes], bytes]] = {
    "csv": ("text/csv; charset=utf-8; header=present", _csv, b""),
    "ndjson": ("application/x-ndjson", _ndjson, b""),
    "arrow": ("application/vnd.apache.arrow.stream", _arrow, _END_OF_STREAM),
}
