"""The way of the compiled part through a batch."""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from flows.parsing.lines import Lines
from flows.parsing.parser import OK
from flows.parsing.times import utc_of_clocks
from native.lines import Form, Key, Keys, Paths, can_read, read


def read_lines(
    form: Form,
    lines: Lines,
    keys: Sequence[Key] | Keys,
    zone: ZoneInfo,
    paths: Paths = (),
) -> pl.DataFrame:
    """The frame that `Format.columns` returns; where nothing is compiled, no line is certain."""
    if not isinstance(keys, Keys):
        keys = Keys(keys, len(keys))
    if not can_read(lines.text, len(lines), keys.all, form):
        return nothing(lines)
    found = read(form, lines.text, lines.starts, keys, paths)
    frame, ok, clocks = found.columns, found.ok, found.clocks
    if (zone.key != "UTC" or found.zone) and clocks.any():
        times = frame["timestamp"].to_physical().to_numpy().copy()
        times[clocks], ok[clocks] = utc_of_clocks(times[clocks], zone, found.zone)
        frame = frame.with_columns(timestamp=pl.Series(times).cast(frame.schema["timestamp"]))
    # Not `hstack`: a frame without columns, of lines in which no key is known, has no height.
    return pl.DataFrame([*frame.get_columns(), pl.Series(OK, ok)])


def nothing(lines: Lines) -> pl.DataFrame:
    """No line is certain."""
    return pl.DataFrame({OK: np.zeros(len(lines), np.bool_)})
