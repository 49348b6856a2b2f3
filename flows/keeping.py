"""Which rows are stored: `KEEP`, `DROP` and `SAMPLE`, filters over a batch behind the enrichers.

Dead letters are kept always. The ledger remembers with each block what was kept of it: so of a
block in doubt the same rows are kept, and an audit knows which lines are dropped.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import SecretStr

from connectors.batch import Parsed, columns_with
from connectors.filtering import expression, filled
from connectors.filters import And, Condition, Filter, Not, Or, parse
from connectors.sources.evidence import Evidence
from settings import Settings

_ZONE = "log_timezone"
_KEEPING = ("keep", "drop", "sample")
_DECIDES = (*_KEEPING, "log_format", _ZONE, "log_duration_unit", "enrichers", "pii")
_RULE = re.compile(r"(?:[^;\"']|\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')+", re.DOTALL)
_SHARE = re.compile(r"(.*):\s*([0-9]*\.?[0-9]+)\s*", re.DOTALL)

Shares = tuple[tuple[Filter, float], ...]
"""Filters, and the share of the rows that each takes of which is kept."""


@dataclass(frozen=True)
class Keeping:
    """Keeps the rows that `keep` takes and `drop` does not, and of others a share.

    Of a row the first of `shares` that takes it counts. Whether it is kept is a function of its
    place, so that a restart and an audit keep the same rows.
    """

    keep: Filter | None
    drop: Filter | None
    shares: Shares

    @classmethod
    def of(cls, settings: Settings) -> Keeping:
        """That of these settings. Raises `FilterError`, and `ValueError`."""
        columns = columns_of(settings.enricher_names)
        return cls(
            parse(settings.keep, columns) if settings.keep else None,
            parse(settings.drop, columns) if settings.drop else None,
            shares_of(settings.sample, columns),
        )

    def apply(self, batch: Parsed) -> Parsed:
        """The batch with the rows that are kept, and how many are not, by the setting."""
        rows, dropped = batch.rows, Counter[str]()

        def take(reason: str, kept: pl.Series) -> None:
            nonlocal rows
            dropped[reason] += len(kept) - int(kept.sum())
            rows = rows.filter(kept)

        if self.keep:
            take("keep", _takes(self.keep, rows))
        if self.drop:
            take("drop", ~_takes(self.drop, rows))
        if self.shares:
            take("sample", _sampled(self.shares, rows))
        return replace(batch, rows=rows, dropped=+dropped)


def columns_of(enrichers: Collection[str]) -> list[str]:
    """The columns that a filter can name."""
    return [name for name in columns_with(enrichers) if name != "line"]


def shares_of(text: str, columns: Collection[str]) -> Shares:
    """What `SAMPLE` means. Raises `FilterError`, and `ValueError` where a rule has no share."""
    found = []
    for rule in filter(str.strip, _RULE.findall(text)):
        parts = _SHARE.fullmatch(rule)
        if not parts or float(parts[2]) > 1:
            raise ValueError(f"{rule.strip()!r} needs a share from 0 to 1: level = debug: 0.01")
        found.append((parse(parts[1].strip(), columns), float(parts[2])))
    return tuple(found)


def recorded(settings: Settings) -> str:
    """What the ledger keeps of these settings; empty where every row is stored."""
    if not any(getattr(settings, name) for name in _KEEPING):
        return ""
    kept = {name: getattr(settings, name) for name in _DECIDES}
    if _ZONE not in settings.model_fields_set:  # logwax.toml may name one
        del kept[_ZONE]
    return json.dumps({name: value for name, value in kept.items() if value})


def settings_of(settings: Settings, record: str) -> Settings:
    """The settings with those that were `recorded`; empty: they keep every row."""
    found: dict[str, object] = dict.fromkeys(_KEEPING, "")
    if not record:
        return settings.model_copy(update=found)
    found |= {"pii": "", _ZONE: "UTC", **json.loads(record)}
    if not settings.pii_key:  # it is never recorded, and hashes need some
        found["pii_key"] = SecretStr("another")
    made = settings.model_copy(update=found)
    if _ZONE not in json.loads(record):
        made.model_fields_set.discard(_ZONE)
    return made


def keeper(settings: Settings) -> Callable[[Parsed], Parsed]:
    """The step that drops rows; those of a block in doubt as its entry in the ledger says."""
    mine = Keeping.of(settings)

    @lru_cache(maxsize=8)
    def of(record: str) -> Keeping:
        return Keeping.of(settings_of(settings, record))

    def keep(batch: Parsed) -> Parsed:
        keeping, first = mine, next(iter(batch.spans), None)
        if batch.in_doubt and first and first.stream.kind == "file":
            keeping = of(Evidence.of(first.proof).kept)
        if batch.rows.is_empty() or keeping == _ALL:
            return batch
        return keeping.apply(batch)

    return keep


_ALL = Keeping(None, None, ())


def _takes(part: Filter, rows: pl.DataFrame) -> pl.Series:
    names = list(dict.fromkeys([*rows.columns, *_named(part)]))
    columns = [name for name in names if name != "line"]
    # beside the columns, since one value may be the answer for all rows
    return filled(rows, columns).with_columns(takes=expression(part, columns))["takes"]


def _named(part: Filter) -> Iterator[str]:
    """The columns that a filter names."""
    if isinstance(part, Condition):
        yield part.field.column
    elif isinstance(part, Not):
        yield from _named(part.part)
    elif isinstance(part, And | Or):
        for one in part.parts:
            yield from _named(one)


def _sampled(shares: Shares, rows: pl.DataFrame) -> pl.Series:
    wanted = np.ones(len(rows))
    for part, share in reversed(shares):
        wanted[_takes(part, rows).to_numpy()] = share
    return pl.Series(_chance(rows) < wanted)


def _chance(rows: pl.DataFrame) -> npt.NDArray[np.float64]:
    """A number from 0 to below 1 of each place, for ever the same."""
    files, offsets = rows["file_id"].to_numpy(), rows["offset"].to_numpy()
    return (_mixed(files ^ _mixed(offsets)) >> np.uint64(11)) / 2.0**53


def _mixed(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finalizer of SplitMix64 (Steele, Lea and Flood, 2014)."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
