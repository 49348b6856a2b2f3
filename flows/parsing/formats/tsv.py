"""Format `tsv`: tab-separated values behind a line that names them; else as `csv`."""

from __future__ import annotations

from flows.parsing.cells import Columns, HeadedFormat
from flows.parsing.formats.csv import columns


def _columns(header: str, shift: int) -> Columns:
    return columns(header, shift, "\t")


FORMAT = HeadedFormat(
    "",
    "timestamp\tlevel\tmessage",
    _columns,
    samples=(
        "2026-11-22T20:15:05.120Z\tinfo\tlistening on port 8080",
        '2026-11-22T20:15:06Z\twarning\t"a ""slow"" query\t3 s"',
    ),
)
