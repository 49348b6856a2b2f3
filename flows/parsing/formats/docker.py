r"""Format `docker`: what a container wrote, as Docker's driver json-file keeps it.

`{"log":"text\n","stream":"stdout","time":"..."}` a line, by Docker's documentation, "JSON File
logging driver". The text is `message`; `attrs`, labels and the like, stays as it is.
"""

from __future__ import annotations

import json

import polars as pl

from connectors.errors import MalformedLine
from flows.parsing.choice import Scanner
from flows.parsing.compiled import read_lines
from flows.parsing.fields import encode
from flows.parsing.formats.json import JsonLines
from flows.parsing.lines import Lines
from flows.parsing.parser import OK, Row
from native.lines import Form, Key, Kind

_KEYS = [
    Key("log", "message", Kind.TEXT),
    Key("stream", "attributes", Kind.ATTRIBUTE),
    Key("attrs", "attributes", Kind.ATTRIBUTE),
    Key("time", "timestamp", Kind.TIME),
]


class Docker(JsonLines):
    """See the module's docstring."""

    def line(self, text: str) -> Row:
        """One line. Raises `MalformedLine`."""
        row = super().line(text)
        others = json.loads(str(row.pop("attributes", "{}")))
        log = others.pop("log", None)
        if log is None or "message" in row:
            raise MalformedLine("not_docker", "no key log, or another text beside it")
        text = log if isinstance(log, str) else encode(log)
        row["message"] = text.removesuffix("\n").removesuffix("\r")
        return {**row, "attributes": encode(others)} if others else row

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those that are not as usual are left open."""
        frame = read_lines(Form.JSON, lines, _KEYS, self._zone)
        if "message" not in frame.columns:
            return frame
        text = pl.col("message")
        bare = text.str.strip_suffix("\n").str.strip_suffix("\r")  # as terminals have it
        return frame.with_columns(bare, pl.col(OK) & (text != ""))


FORMAT = Scanner(
    Docker,
    samples=(
        '{"log":"listening on :8080\\n","stream":"stdout","time":"2026-11-22T20:15:05.120456789Z"}',
        '{"log":"{\\"ts\\": \\"caf\u00e9","stream":"stderr","attrs":{"tag":"a"},'
        '"time":"2026-11-22T20:15:05Z"}',
    ),
)
