"""Labels: what `logwax.toml` says of all lines of a file, put into their rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import polars as pl

from connectors.batch import COLUMNS, Parsed, Taken
from connectors.sources.rules import Rules
from flows.parsing.fields import encode

_NONE = "{}"
_APART = ("source", "attributes")
IN_COLUMNS = {name for name, dtype in COLUMNS.items() if dtype == pl.String} - {*_APART}
"""The columns that a label of their name fills."""


def labelled(parse: Callable[[Taken], Parsed], rules: Rules) -> Callable[[Taken], Parsed]:
    """The parse step, and behind it the labels of the files; without any, the step itself."""
    if not any(rule.labels for rule in rules.all):
        return parse

    def parse_and_label(batch: Taken) -> Parsed:
        parsed = parse(batch)
        rows = parsed.rows
        files: dict[tuple[tuple[str, str], ...], set[int]] = {}
        for span in batch.spans:
            if (rule := rules.of(span.stream.name)) and rule.labels:
                files.setdefault(tuple(rule.labels.items()), set()).add(span.stream.id)
        for labels, ids in files.items():
            rows = _with(rows, dict(labels), ids) if len(rows) else rows
        return replace(parsed, rows=rows)

    return parse_and_label


def _with(rows: pl.DataFrame, labels: Mapping[str, str], ids: set[int]) -> pl.DataFrame:
    """The rows of these files with the labels, where their lines do not say so themselves."""
    is_theirs = pl.Series(rows["file_id"].is_in(list(ids)))
    for name, value in labels.items():
        if name in IN_COLUMNS:
            own = rows[name] if name in rows.columns else pl.repeat("", len(rows), eager=True)
            filled = pl.when(is_theirs & (own == "")).then(pl.lit(value)).otherwise(own)
            rows = rows.with_columns(filled.alias(name))
            continue
        member = encode({name: value})[1:-1]
        key = encode(name) + ":"
        own = (
            rows["attributes"]
            if "attributes" in rows.columns
            else pl.repeat(_NONE, len(rows), eager=True)
        )
        lacks = is_theirs & ~own.str.contains(key, literal=True)
        more = (
            pl.when(own == _NONE)
            .then(pl.lit(f"{{{member}}}"))
            .otherwise(pl.concat_str(own.str.head(-1), pl.lit(f",{member}}}")))
        )
        rows = rows.with_columns(pl.when(lacks).then(more).otherwise(own).alias("attributes"))
    return rows
