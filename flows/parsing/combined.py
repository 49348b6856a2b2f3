r"""Format `combined`: the access log of Apache httpd and nginx.

`%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-agent}i"`, by the Apache HTTP Server documentation,
"Log Files" and mod_log_config (quotes, backslashes and control characters inside quoted fields are
escaped as `\"`, `\\`, `\n`, `\xhh`), and nginx, ngx_http_log_module, `combined` (`\xHH`).

The remote user is the customer. The request line gives method, path and `attributes.protocol`; one
that is not of that shape is kept whole as `attributes.request`, the identd name as
`attributes.ident`. Escapes are undone where the result is UTF-8.

Neither program escapes the spaces of a user's name, so a line that has one more field in front of
the time, such as a virtual host, looks much like one with such a name. It is taken for a name only
where no word of it can be another field.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from zoneinfo import ZoneInfo

import polars as pl

from connectors.distinct import distinct
from connectors.errors import MalformedLine
from flows.parsing.compiled import read_lines
from flows.parsing.fields import dash_is_empty, put_numbers
from flows.parsing.lines import Lines
from flows.parsing.parser import OK, Row
from flows.parsing.times import UTC, in_range, iso
from native.lines import Form, Key, Kind

_QUOTED = r' "([^"\\]*(?:\\.[^"\\]*)*)"'
_FIELDS = {
    "host": r"([^ ]+)",
    "identd name": r" ([^ ]+)",
    "user": r" (.*?)",
    "[time]": r" \[([^\[\]]*)\]",
    '"request"': _QUOTED,
    "status": r" ([^ ]+)",
    "bytes": r" ([^ ]+)",
    '"referer"': _QUOTED,
    '"user agent"': _QUOTED,
}
"""What a line consists of, in order: field -> its pattern, with what stands before it."""

_LINE = re.compile("".join(_FIELDS.values()), re.DOTALL)
_REQUEST = re.compile(
    r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([^ ](?:.*[^ ])?) (HTTP/\d(?:\.\d)?)|"
    r"([A-Z]+) ([^ ]+)",  # HTTP/0.9 names no protocol
    re.DOTALL | re.ASCII,
)
# A number, an address, a name of a host, or nothing: what no word of a user's name is taken for.
_OTHER_FIELD = re.compile(
    r"|-|\"\"|\d.*|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*,?|[\w-]+(?:\.[\w-]+)+(?::\d+)?,?", re.DOTALL
)
_TIME = re.compile(r"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d:\d\d:\d\d) ([+-]\d{4})", re.ASCII)
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{2}|.)", re.DOTALL)
_ESCAPED = dict(zip(b'"\\ntrbv', b'"\\\n\t\r\b\v', strict=True))
_METHODS = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"]
_PROTOCOLS = ["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/2", "HTTP/3.0", "HTTP/3"]

_KEYS = [
    Key(column, column, kind)
    for column, kind in (
        ("client_ip", Kind.TEXT),
        ("customer_id", Kind.TEXT),
        ("timestamp", Kind.TIME),
        ("method", Kind.TEXT),
        ("request_path", Kind.TEXT),
        ("status_code", Kind.SMALL),
        ("bytes_sent", Kind.LARGE),
        ("referer", Kind.TEXT),
        ("user_agent", Kind.TEXT),
        ("attributes", Kind.ATTRIBUTE),
    )
]
"""What the compiled part reads, in the order of `native/combined.c`."""


def make(time_zone: ZoneInfo, duration_shift: int = 0) -> Combined:
    """The parser of this format; its times always carry their zone, and it has no durations."""
    return Combined()


class Combined:
    """See the module's docstring."""

    def line(self, text: str) -> Row:
        """One line. Raises `MalformedLine`."""
        found = _LINE.fullmatch(text)
        if not found:
            raise MalformedLine("not_combined", _misfit(text))
        host, ident, user, time, request, status, size, referer, agent = found.groups()
        if shifted := _shifted(host, ident, user):
            raise MalformedLine("not_combined", shifted)
        attributes: dict[str, str] = {}
        row: Row = {
            "timestamp": _time(time),
            "client_ip": dash_is_empty(host),
            "customer_id": "" if user == '""' else dash_is_empty(_unescape(user)),  # Apache's empty
            "referer": dash_is_empty(_unescape(referer)),
            "user_agent": dash_is_empty(_unescape(agent)),
        }
        asked = _REQUEST.fullmatch(_unescape(request))
        if asked:
            row["method"] = asked.group(1) or asked.group(4)
            row["request_path"] = asked.group(2) or asked.group(5)
            if asked.group(3):
                attributes["protocol"] = asked.group(3)
        elif request not in ("", "-"):
            attributes["request"] = _unescape(request)
        if ident != "-":
            attributes["ident"] = _unescape(ident)
        attributes |= put_numbers(row, {"status_code": status, "bytes_sent": size})
        row["attributes"] = json.dumps(attributes, ensure_ascii=False, separators=(",", ":"))
        return row

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those that are not as usual are left open."""
        return read_lines(Form.COMBINED, lines, _KEYS, UTC, self._columns)

    def _columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once, split at their quotes; those with escapes or rarities are open."""
        quoted = lines.series.str.splitn('"', 7).struct.unnest()
        quoted.columns = ["client", "request", "result", "referer", "blank", "user_agent", "end"]
        client = quoted["client"].str.splitn(" ", 4).struct.unnest()
        client.columns = ["client_ip", "ident", "customer_id", "time"]
        request = quoted["request"].str.splitn(" ", 3).struct.unnest()
        request.columns = ["method", "request_path", "protocol"]
        result = quoted["result"].str.splitn(" ", 4).struct.unnest()
        result.columns = ["before", "status_code", "bytes_sent", "after"]
        fields = pl.concat([quoted, client, request, result], how="horizontal")
        size, status = pl.col("bytes_sent"), pl.col("status_code")
        fields = fields.with_columns(
            _times(fields["time"]).alias("timestamp"),
            size.cast(pl.UInt64, strict=False).alias("bytes"),
            status.cast(pl.UInt16, strict=False).alias("status"),
        )
        sure = (
            pl.col("timestamp").is_not_null()
            & (pl.col("client_ip") != "")
            & ~pl.col("client_ip").str.contains(",", literal=True)
            & (pl.col("ident") == "-")
            & (pl.col("customer_id") != "")
            & pl.col("method").is_in(_METHODS)
            & pl.col("protocol").is_in(_PROTOCOLS)
            & (pl.col("request_path") != "")
            & (pl.col("before") == "")
            & (pl.col("after") == "")
            & (pl.col("blank") == " ")
            & pl.col("end").is_in(["\n", "\r\n", ""])
            & (status.str.len_bytes() == 3)
            & pl.col("status").is_between(100, 599)
            & ((size == "-") | pl.col("bytes").is_not_null())
            & ~size.str.starts_with("+")
            & (size.str.len_bytes() <= 20)
        )
        if b"\\" in lines.text:
            sure &= ~pl.any_horizontal(
                pl.col(name).str.contains("\\", literal=True)
                for name in ("customer_id", "request", "referer", "user_agent")
            )

        def dashed(name: str) -> pl.Expr:
            return pl.when(pl.col(name) == "-").then(pl.lit("")).otherwise(name).alias(name)

        return fields.select(
            "timestamp",
            dashed("client_ip"),
            dashed("customer_id"),
            "method",
            "request_path",
            pl.col("status").alias("status_code"),
            pl.col("bytes").fill_null(0).alias("bytes_sent"),
            dashed("referer"),
            dashed("user_agent"),
            pl.concat_str(pl.lit('{"protocol":"'), "protocol", pl.lit('"}')).alias("attributes"),
            sure.fill_null(False).alias(OK),
        )


def _times(texts: pl.Series) -> pl.Series:
    """The times of the column, null where not certain; they are to the second, hence repeat."""
    found, which = distinct(texts)
    times = found.str.to_datetime("[%d/%b/%Y:%H:%M:%S %z] ", strict=False)
    # `to_datetime` takes other spellings, too.
    usual = found.str.contains(r"^\[[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}:[0-9:]{8} [+-][0-9]{4}\] $")
    return pl.select(pl.when(usual).then(in_range(pl.lit(times)))).to_series().gather(which)


def _misfit(text: str) -> str:
    """Which field of a line is the first that does not fit."""
    names = list(_FIELDS)
    for number, name in enumerate(names, 1):
        begin = re.compile("".join(list(_FIELDS.values())[:number]), re.DOTALL)
        if not begin.match(text):
            return f"{name} is missing, or does not end, in {' '.join(names)}"
    return f"something follows {' '.join(names)}"


def _shifted(host: str, ident: str, user: str) -> str:
    """Why the first fields are others than these; nothing if they are not."""
    if "," in host:
        return f"host {host[:64]!r} is more than one"
    if ident != "-" and _OTHER_FIELD.fullmatch(ident):
        return f"identd name {ident[:64]!r} is another field"
    words = user.split(" ")
    if len(words) > 1 and (ident != "-" or any(map(_OTHER_FIELD.fullmatch, words))):
        return f"user {user[:64]!r} is more than one field"
    return ""


def _time(text: str) -> datetime:
    found = _TIME.fullmatch(text)
    if not found or found.group(2) not in _MONTHS:
        raise MalformedLine(
            "bad_timestamp", f"[{text[:64]}] is not a time like 17/May/2015:10:05:03 +0000"
        )
    day, month, year, clock, offset = found.groups()
    return iso(f"{year}-{_MONTHS.index(month) + 1:02}-{day} {clock}{offset}", UTC)


def _unescape(text: str) -> str:
    """Undo the escapes of a quoted field; bytes that are not UTF-8 stay escaped."""
    if "\\" not in text:
        return text

    def plain(found: re.Match[bytes]) -> bytes:
        escape = found.group(1)
        if len(escape) == 3:
            return bytes.fromhex(escape[1:].decode())
        return bytes([_ESCAPED[escape[0]]]) if escape[0] in _ESCAPED else found.group(0)

    return _ESCAPE.sub(plain, text.encode()).decode(errors="backslashreplace")
