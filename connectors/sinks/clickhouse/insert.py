"""Inserts into ClickHouse: each one part under one token, and lines that fit, of those that do not.

A table may refuse lines: by a constraint, by a type or an expression that somebody gave to a
column. Then all of an insert is refused. Which lines it is for is found by rehearsals: inserts that
are checked in full, and then refused because the disk shall have 2^63 bytes free. So its halves are
rehearsed, and their halves, until what is refused is single lines; the others are one insert again.

What is too much at a time, or cannot be rehearsed, is inserted by halves in earnest. The halves of
the same lines are always the same, and each insert has a token made of its lines: whoever goes on
after a crash sends what may still be under way under the same token again.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Protocol, cast

import polars as pl
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import Error

from connectors.batch import PLACE, REFUSED, with_nulls
from connectors.sinks.clickhouse.errors import (
    is_of_a_view,
    is_too_much,
    may_be_lines,
    reason,
    violated_row,
)
from connectors.sinks.writers import hash_of
from native.block import can_write, write_block

_PART = ":part:"
_WORDS = 1000  # characters of what the store says: it repeats the line
_FEW = 1024  # lines that are sent at once, and rehearsed again without a single one of them

_FREE = "min_free_disk_bytes_to_perform_insert"
_NOT_ENOUGH_SPACE = 243


class Insert(Protocol):
    """Inserts lines under a token, all or none; says whether they are in the table now."""

    def __call__(self, lines: pl.DataFrame, token: str, *, rehearse: bool = False) -> bool:
        """Raises what the store says. A rehearsal inserts nothing, where it can be held."""


def insert_lines(
    client: Client, table: str, lines: pl.DataFrame, token: str, *, rehearse: bool = False
) -> bool:
    """See `Insert`; a second insert under the same token does nothing."""
    if lines.is_empty():
        return True
    settings: dict[str, object] = {
        "async_insert": 0,
        "insert_deduplication_token": token,
        "input_format_null_as_default": 1,  # for a duration that is none, in former tables
        # One insert is one part, or its token would not cover it.
        "max_insert_block_size": len(lines) + 1,
        "min_insert_block_size_rows": len(lines) + 1,
        "min_insert_block_size_bytes": 0,
    }
    free = client.server_settings.get(_FREE)  # which older ones do not know
    rehearse = rehearse and free is not None and not free.readonly
    if rehearse:
        settings[_FREE] = 2**63 - 1
    try:
        insert_columns(client, table, lines, settings)
    except Error as error:
        if rehearse and (error.code == _NOT_ENOUGH_SPACE or is_of_a_view(error)):
            return False
        raise
    return True


def check_insert(client: Client, table: str, columns: Iterable[str]) -> None:
    """Insert no lines into these columns: raises what keeps this user from inserting any."""
    names = ", ".join(name for name in columns if name != "line")
    client.command(
        f"INSERT INTO {{table:Identifier}} ({names}) "
        f"SELECT {names} FROM {{table:Identifier}} WHERE false",
        {"table": table},
    )


def insert_what_fits(
    lines: pl.DataFrame, token: str, insert: Insert, first: int = 0
) -> pl.DataFrame:
    """Insert the lines from number `first` on; returns those that are `REFUSED`."""
    nobody = pl.DataFrame(schema=REFUSED)
    if first >= len(lines):
        return nobody
    if first == 0:
        try:
            insert(lines, token)
        except Error as error:
            if not may_be_lines(error):
                raise
            if len(lines) == 1:
                return _refused(lines, error)
            if not is_too_much(error):
                refused, taken = _rehearse(lines, token, insert)
                if len(refused) + len(taken):
                    rest = lines.join(refused, on=PLACE, how="anti", maintain_order="left")
                    rest = rest.join(taken, on=PLACE, how="anti", maintain_order="left")
                    return pl.concat([refused, insert_what_fits(rest, _part(token, rest), insert)])
        else:
            return nobody
    middle = len(lines) // 2
    halves = (lines[:middle], first), (lines[middle:], first - middle)
    return pl.concat(
        insert_what_fits(half, _part(token, half), insert, max(begin, 0)) for half, begin in halves
    )


def _rehearse(lines: pl.DataFrame, token: str, insert: Insert) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Of lines that do not fit all together: the `REFUSED`, and the places of those that are in.

    The latter are there if nothing can be rehearsed on this table's disk, say.
    """
    refused, taken = [pl.DataFrame(schema=REFUSED)], [lines.clear().select(PLACE)]
    pieces, is_rehearsed, counts_rows = _halves(lines), False, False
    while pieces:
        piece = pieces.pop()
        try:
            if insert(piece, _part(token, piece), rehearse=True):
                taken.append(piece.select(PLACE))
            else:
                is_rehearsed = True
        except Error as error:
            if not may_be_lines(error):
                raise
            row = violated_row(error) if is_rehearsed and len(piece) <= _FEW else -1
            if len(piece) == 1:
                refused.append(_refused(piece, error))
                counts_rows |= row == 0  # as it is meant to: the row of a single line
            elif 0 <= row < len(piece):
                one = piece[row : row + 1]
                pieces.append(pl.concat([piece[:row], piece[row + 1 :]]))
                if counts_rows:
                    refused.append(_refused(one, error))
                else:
                    pieces.append(one)
            else:
                pieces += _halves(piece)
    return pl.concat(refused), pl.concat(taken)


def _halves(lines: pl.DataFrame) -> list[pl.DataFrame]:
    """The first one last, since it is the next."""
    middle = len(lines) // 2
    return [lines[middle:], lines[:middle]]


def _refused(line: pl.DataFrame, error: Error) -> pl.DataFrame:
    return line.select(*PLACE, "line", detail=pl.lit(reason(error)[:_WORDS]))


def _part(token: str, lines: pl.DataFrame) -> str:
    """The token of a part of what has the token."""
    return f"{token.partition(_PART)[0]}{_PART}{hash_of(lines)}"


def insert_columns(
    client: Client, table: str, lines: pl.DataFrame, settings: dict[str, object]
) -> None:
    """Insert lines as one block; a column that is not nullable takes its default for null."""
    lines = lines.drop("line", strict=False)  # the offset is identity enough here
    pieces: Iterable[bytes | memoryview]
    if can_write(lines):
        pieces, form = write_block(lines), "Native"
    else:
        pieces, form = [_arrow(lines)], "ArrowStream"
    # Few are sent at once: the client sends them again if the server has closed the connection.
    data = b"".join(pieces) if len(lines) <= _FEW else cast(Generator[bytes, None, None], pieces)
    client.raw_insert(table, lines.columns, data, settings=settings, fmt=form)


def _arrow(lines: pl.DataFrame) -> memoryview:
    # Texts are views into the lines of the whole batch: as such they would be written with it.
    columns = with_nulls(lines).rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, columns.schema) as stream:
        stream.write_table(columns)
    return memoryview(sink.getvalue())
