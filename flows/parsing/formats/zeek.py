r"""Format `zeek`: the logs of Zeek, formerly Bro, as tab-separated values.

By the Zeek documentation, "Zeek Log Formats and Inspection" and its ASCII writer: lines that begin
with `#` say how the others are written; `#fields` names their columns, with the separator between
the names. `-` is no value and `(empty)` an empty one; bytes that are no text are `\xhh`. Times are
seconds since 1970, and so are intervals seconds.

`id.orig_h` is the client. What a log of HTTP, of notices, of weird things or of the reporter says
becomes columns, other fields are attributes. Lines that are behind no header, as of a stream of
Redis, are those of `conn.log`.
"""

from __future__ import annotations

from flows.parsing.cells import Columns, HeadedFormat, named
from flows.parsing.fields import Escapes
from flows.parsing.layout import Field
from native.lines import Meaning

_MARK = "#fields"
_EMPTY = ("-", "(empty)")
_MEANS = {
    "client_ip": "id.orig_h src",
    "method": "method",
    "request_path": "uri",
    "status_code": "status_code",
    "bytes_sent": "response_body_len",
    "duration": "duration",
    "user_agent": "user_agent",
    "referer": "referrer",
    "customer_id": "username user",
    "level": "level",
    "message": "msg message",
}
_KNOWN = {
    "ts": Field("ts", "timestamp", time=Meaning.EPOCH, empty=_EMPTY),
    **{
        name: Field(name, column, escapes=Escapes.APACHE, empty=_EMPTY)
        for column, names in _MEANS.items()
        for name in names.split()
    },
}


def _columns(header: str, shift: int) -> Columns:
    separator = header[len(_MARK) : len(_MARK) + 1] or "\t"
    names = [name for name in header[len(_MARK) + 1 :].split(separator) if name]
    others = {name.lower(): Field(name, escapes=Escapes.APACHE, empty=_EMPTY) for name in names}
    fields = named(names, others | _KNOWN, shift)
    return Columns(fields, separator, decode={"level": _severity}, is_quoted=False)


def _severity(text: str) -> str:
    return text.removeprefix("Reporter::")


FORMAT = HeadedFormat(
    _MARK,
    "\t".join(
        [
            f"{_MARK}\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice",
            "duration\torig_bytes\tresp_bytes\tconn_state\tlocal_orig\tlocal_resp\tmissed_bytes",
            "history\torig_pkts\torig_ip_bytes\tresp_pkts\tresp_ip_bytes\ttunnel_parents",
        ]
    ),
    _columns,
    samples=(
        "1795378505.120456\tCg9xqq3JAcZusspA86\t203.0.113.7\t52025\t192.0.2.1\t80\ttcp\thttp\t"
        "2.125850\t0\t1092421\tSF\t-\t-\t0\tShADadfF\t400\t20800\t756\t1131733\t(empty)",
    ),
)
