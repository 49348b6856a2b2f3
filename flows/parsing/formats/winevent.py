"""Format `winevent`: events of Windows as XML, each on a line.

What `wevtutil query-events /format:xml` prints and forwarders send, by Microsoft's documentation,
"Event Schema". The level is that of `System` (0, which is always logged, and 4 are `info`), the
message that of `RenderingInfo`, if it is there. Provider, event and channel are attributes, and so
are the values of `EventData`, by their names: lines that have some are read one by one.
"""

from __future__ import annotations

import re
from html import unescape
from zoneinfo import ZoneInfo

import polars as pl

from connectors.errors import MalformedLine
from flows.parsing.choice import Scanner
from flows.parsing.compiled import nothing
from flows.parsing.dialects import AZURE
from flows.parsing.fields import encode
from flows.parsing.layout import Field, Layout
from flows.parsing.lines import Lines
from flows.parsing.parser import OK, Row
from flows.parsing.times import ISO_8601

_ELEMENTS = {
    "time": r"<TimeCreated SystemTime=[\"']([^\"']*)[\"']",
    "level": "<Level>([0-9]*)</Level>",
    "message": "<Message>([^<]*)</Message>",
    "host": "<Computer>([^<]*)</Computer>",
    "provider": r"<Provider Name=[\"']([^\"']*)[\"']",
    "event_id": "<EventID(?: [^>]*)?>([0-9]*)</EventID>",
    "channel": r"<Channel>([^<\"]*)</Channel>",
}
_ATTRIBUTES = ("provider", "event_id", "channel")
_EXPRESSIONS = {name: re.compile(element) for name, element in _ELEMENTS.items()}
_DATA = re.compile(r"<Data Name=[\"']([^\"']*)[\"']>([^<]*)</Data>")
_ODD = r"<Data |[&\\\x00-\x1f\x7f]"
_LEVELS = {"0": "info"} | AZURE
_TIME = Layout((Field("time", "timestamp", time=ISO_8601),), (), "bad_timestamp")


class _Events:
    """See the module's docstring."""

    def __init__(self, time_zone: ZoneInfo, duration_shift: int) -> None:
        self._times = _TIME.make(time_zone)

    def line(self, text: str) -> Row:
        """One line. Raises `MalformedLine`."""
        texts = {
            name: unescape(element.group(1))
            for name, expression in _EXPRESSIONS.items()
            if text.startswith("<Event") and (element := expression.search(text))
        }
        if "time" not in texts:
            raise MalformedLine("not_winevent", "<Event ...><TimeCreated SystemTime= is missing")
        row = self._times.line(texts["time"])
        row["level"] = _LEVELS.get(texts.get("level", ""), "")
        row |= {name: texts[name] for name in ("message", "host") if name in texts}
        attributes = {name: texts[name] for name in _ATTRIBUTES if texts.get(name)}
        attributes |= {unescape(name): unescape(data) for name, data in _DATA.findall(text)}
        return {**row, "attributes": encode(attributes)} if attributes else row

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those with values of `EventData` or escapes are left open."""
        text = lines.texts()
        texts = {
            name: text.str.extract(element).fill_null("") for name, element in _ELEMENTS.items()
        }
        times = self._times.columns(Lines("".join(texts["time"] + "\n").encode()))
        if "timestamp" not in times.columns:
            return nothing(lines)
        members = [
            pl.when(pl.col(name) != "").then(pl.lit(f'"{name}":"') + pl.col(name) + pl.lit('"'))
            for name in _ATTRIBUTES
        ]
        inner = pl.concat_str(members, separator=",", ignore_nulls=True)
        attributes = (pl.lit("{") + inner + pl.lit("}")).alias("attributes")
        return pl.DataFrame(
            {
                **{name: texts[name] for name in ("message", "host", *_ATTRIBUTES)},
                "timestamp": times["timestamp"],
                "level": texts["level"].replace_strict(_LEVELS, default=""),
                OK: times[OK] & text.str.starts_with("<Event") & ~text.str.contains(_ODD),
            }
        ).select("timestamp", "level", "message", "host", attributes, OK)


FORMAT = Scanner(
    _Events,
    samples=(
        "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider "
        "Name='Service Control Manager'/><EventID>7036</EventID><Level>4</Level><TimeCreated "
        "SystemTime='2026-11-22T20:15:05.1234567Z'/><Channel>System</Channel><Computer>web-1"
        "</Computer></System></Event>",
        "<Event><System><Level>2</Level><TimeCreated SystemTime='2026-11-22T20:15:05Z'/></System>"
        "<EventData><Data Name='param1'>caf\u00e9</Data></EventData></Event>",
    ),
)
