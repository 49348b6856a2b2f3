"""Dead letters once more through parser and enrichers: what fits now becomes a row, once.

Rows are inserted before their dead letters are deleted. A crash in between leaves both; the next
redrive sees that the row is held, and deletes the dead letter only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import polars as pl

from connectors.accounts import ChangeableAccounts
from connectors.batch import PLACE, Numbers, Parsed, Taken
from connectors.encodings import Encoding
from connectors.sources.records import Events, Piece, taken
from flows.line_ranges import Meanings

_LOOKED_AT = 200  # letters of a file whose format is found out
LETTERS_AT_ONCE, BYTES_AT_ONCE = 10_000, 16 * 1024 * 1024


@dataclass
class Redriven:
    """How many dead letters there were so far, by the reason they had before."""

    tried: Counter[str] = field(default_factory=Counter)
    stored: Counter[str] = field(default_factory=Counter)


def redrive(
    accounts: ChangeableAccounts,
    parse: Callable[[Taken], Parsed],
    meanings: Callable[[int], Meanings],
    again: Callable[[str, Sequence[str], str], str],
    encoding: Encoding,
    longest: int,
    *,
    reason: str,
    sources: Sequence[str],
    dry_run: bool,
) -> Iterator[Redriven]:
    """Redrive the dead letters with this reason, of these files; empty: all but fragments.

    `meanings` says of a file how its lines are meant, and `again` by which format they are tried.
    No line of more than `longest` bytes is a row. Yields the counts after every batch. With
    `dry_run` nothing is changed.
    """
    counts = Redriven()
    place = (0, 0)
    while len(letters := accounts.letters(place, reason, sources, LETTERS_AT_ONCE, BYTES_AT_ONCE)):
        place = letters.select(PLACE).row(-1)
        tried = parse(taken(_pieces(letters, meanings, again, encoding), encoding, longest))
        rows, still_dead = tried.rows, tried.rejected
        if not dry_run:
            _, refused = accounts.insert(rows, partial(accounts.held, letters))
            rows = rows.join(refused, on=PLACE, how="anti")
            still_dead = pl.concat([still_dead, tried.reject(refused)])
            held = accounts.held(letters)
            accounts.delete_dead(letters.join(held, on=PLACE, how="semi"))
            accounts.update_dead(_changed(still_dead, letters).join(held, on=PLACE, how="anti"))
        done = letters.join(rows, on=PLACE, how="semi")
        counts.tried.update(letters["reason"].to_list())
        counts.stored.update(done["reason"].to_list())
        yield counts


def _pieces(
    letters: pl.DataFrame,
    meanings: Callable[[int], Meanings],
    again: Callable[[str, Sequence[str], str], str],
    encoding: Encoding,
) -> list[Piece]:
    newline = encoding.newline
    carriage_return = newline.replace(b"\n", b"\r")
    pieces, formats = [], dict[int, str]()
    for file_id, source, offset, raw in letters.select(
        *PLACE[:1], "source", "offset", "raw"
    ).rows():
        raw = raw[encoding.filler(raw) :]  # it would move the place
        # The parser takes the line end off. It must not take a CR that the line itself ends with.
        end = carriage_return + newline if raw.endswith(carriage_return) else newline
        place = file_id, source, offset
        evidence = meanings(file_id).at(offset)
        if file_id not in formats:
            raws = letters.filter(file_id=file_id)["raw"].head(_LOOKED_AT).to_list()
            texts = [some.decode(encoding.name, "replace") for some in raws]
            formats[file_id] = again(source, texts, evidence.format)
        if formats[file_id] != evidence.format:
            evidence = replace(evidence, format=formats[file_id], header="")
        pieces.append(Piece.at(place, raw + end, encoding, _one_record, evidence))
    return pieces


def _one_record(ends: Numbers) -> Events:
    return Events.at(np.zeros(1, np.int64), ends)


def _changed(still_dead: pl.DataFrame, letters: pl.DataFrame) -> pl.DataFrame:
    """The dead letters whose reason or detail is another one now."""
    before = letters.select(*PLACE, "reason", "detail")
    return still_dead.join(before, on=[*PLACE, "reason", "detail"], how="anti")
