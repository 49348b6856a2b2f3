"""Enricher `endpoint`: the path without its query, ids as `:id`, to group requests by."""

from __future__ import annotations

import polars as pl

import native
from connectors.distinct import distinct
from native.text import mask_ids

_ID = (
    r"/(?:[0-9]+"
    r"|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
    r"|[0-9a-fA-F]{16,})/"
)
"""A whole path segment that is a number, a UUID (RFC 9562) or 16 and more hexadecimal digits."""


def enrich(rows: pl.DataFrame) -> pl.DataFrame:
    """Add `endpoint`, made of `request_path`."""
    if "request_path" not in rows.columns:
        return rows
    if native.library:
        return rows.hstack([mask_ids(rows["request_path"]).alias("endpoint")])
    paths, which = distinct(rows["request_path"])
    return rows.with_columns(_endpoint(paths).gather(which).alias("endpoint"))


def _endpoint(paths: pl.Series) -> pl.Series:
    path = pl.col("path").str.split_exact("?", 1).struct.field("field_0") + "/"
    # A segment stands between slashes; two that follow one another share theirs, hence the second
    # go.
    for _ in range(2):
        path = path.str.replace_all(_ID, "/:id/")
    return paths.to_frame("path").select(path.str.strip_suffix("/")).to_series()
