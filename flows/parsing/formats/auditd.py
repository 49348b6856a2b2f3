"""Format `auditd`: `type=SYSCALL msg=audit(seconds:serial): key=value ...`.

By auditd.conf(5), `log_format` (`raw`, or `enriched`, whose names stand behind a control character)
and the Linux Audit project's specification, "Event Record Format". The pairs, those within
`msg='...'` and `SADDR={ ... }` too, are attributes; `node` is the host, and `?` no value. Texts in
hexadecimal digits stay so.
"""

from __future__ import annotations

import re

import polars as pl

from connectors.errors import MalformedLine
from flows.parsing.choice import Scanner
from flows.parsing.formats.logfmt import Logfmt
from flows.parsing.lines import Lines
from flows.parsing.parser import Row

_HEAD = re.compile(
    rb"^(?:(?:node(=[^ \n]+) )?type=([^ \n]+) msg=audit\(([0-9.]+):([0-9]+)\) ?:|(?=.))",
    re.MULTILINE,
)
_GROUP = re.compile(rb"([ \x1d])(?:msg='([^'\n]*)'|SADDR=\{([^}\n]*)\})")

_UNKNOWN = re.compile(rb"[ \x1d][A-Za-z0-9_-]+=\?(?=[ \x1d\r\n]|\Z)")


class Auditd(Logfmt):
    """See the module's docstring: logfmt, once what is special there is written as pairs."""

    def line(self, text: str) -> Row:
        """One line. Raises `MalformedLine`."""
        pairs = _as_pairs(text.encode())
        if pairs.startswith(b'"'):
            raise MalformedLine("not_auditd", "it does not begin as type=X msg=audit(1.123:4):")
        return super().line(pairs.decode())

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those that are not as usual are left open."""
        return super().columns(lines.changed(_as_pairs))


def _as_pairs(data: bytes) -> bytes:
    pairs = _GROUP.sub(rb"\1\2\3", _HEAD.sub(_head_as_pairs, data))
    return _UNKNOWN.sub(b"", pairs)


def _head_as_pairs(found: re.Match[bytes]) -> bytes:
    node, kind, seconds, serial = found.groups()
    if not kind:
        return b'"'  # so that it is no line of logfmt either
    host = b"host" + node + b" " if node else b""
    return host + b"type=" + kind + b" time=" + seconds + b" serial=" + serial


FORMAT = Scanner(
    Auditd,
    samples=(
        "type=SYSCALL msg=audit(1795378505.123:24): arch=c000003e syscall=257 success=yes pid=1234 "
        'comm="cat" exe="/usr/bin/cat" key="conf"\x1dARCH=x86_64 SYSCALL=openat',
        "type=USER_AUTH msg=audit(1795378505.123:25): pid=1 msg='op=PAM:authentication "
        'acct="caf\u00e9" res=success\'',
    ),
)
