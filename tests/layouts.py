"""Layouts that use all that a layout can say, for tests of what is compiled of them."""

from __future__ import annotations

from flows.parsing.choice import Description
from flows.parsing.fields import LETTERS
from flows.parsing.layout import SPACES, Field, Layout, Maybe, Variants, quoted
from native.lines import Shape

_MESSAGE = Field("message", "message", Shape.WORDS, empty=())
_SYSLOG = (
    " ",
    Field("host", "host"),
    " ",
    Field("tag"),
    Maybe("[", Field("pid", shape=Shape.DIGITS), "]"),
    ": ",
    _MESSAGE,
)
OLD_SYSLOG = Layout(
    (
        Maybe("<", Field("priority", shape=Shape.DIGITS), ">"),
        Field("time", "timestamp", time="%b %e %H:%M:%S"),
        *_SYSLOG,
    ),
    samples=(
        "Nov 22 20:15:05 web-1 sshd[4711]: Accepted publickey for jane",
        "<38>Nov  2 20:15:05 web-1 CRON: (root) CMD (run: a[b]: c)",
    ),
    reason="not_syslog",
)
NEW_SYSLOG = Layout(
    (Field("time", "timestamp", time="%Y-%m-%dT%H:%M:%S%z"), *_SYSLOG),
    samples=("2026-11-22T20:15:05.123456+01:00 web-1 sshd[4711]: Accepted publickey",),
    reason="not_syslog",
)
KLOG = Layout(
    (
        Field("level", "level", width=1, words=LETTERS),
        Field("time", "timestamp", time="%m%d %H:%M:%S"),
        SPACES,
        Field("thread", shape=Shape.DIGITS),
        " ",
        Field("file"),
        ":",
        Field("line", shape=Shape.DIGITS),
        "] ",
        _MESSAGE,
    ),
    samples=(
        'I1122 20:15:05.123456       1 controller.go:99] "Starting" name="a: b"',
        "X1122 20:15:05.123456   12345 a.go:1] caf\u00e9",
    ),
    reason="not_klog",
)
COLUMNS = Layout(
    (
        SPACES,
        Field("time", "timestamp", time="%d.%m.%y %I:%M:%S %p %Z"),
        SPACES,
        Field("level", "level", words={"WARN": "warning", "-": ""}),
        SPACES,
        Maybe("(", Field("user", "customer_id"), "@", Field("from", "client_ip"), ") "),
        Field("code", shape=Shape.WORDS, width=3),
        Field("kind", width=2, words={"ab": "alphabet"}),
        Maybe(" for ", Field("duration", "duration"), "s"),
        Maybe(" of ", Field("bytes", "bytes_sent")),
        Maybe(' "', quoted("message", "message"), '"'),
    ),
    samples=(
        '  22.11.26 08:15:05 PM UTC  WARN   (jane@203.0.113.7) a bab for 1.5s of 17 "x for y"',
        ' 2.1.26 8:15:05,5 AM GMT - axyzw of - "x\u00e9"',
    ),
    reason="not_columns",
)
SECONDS = Layout(
    (
        Maybe(Field("prefix", shape=Shape.WORDS), ": "),
        Field("time", "timestamp", time="%s"),
        " ",
        _MESSAGE,
    ),
    samples=("web-1: 1795378505.1234567 up", "1795378505 up: 1 s"),
    reason="not_seconds",
)

ALL: dict[str, Description] = {
    "two_syslogs": Variants((OLD_SYSLOG, NEW_SYSLOG)),
    "lettered": KLOG,
    "columns": COLUMNS,
    "seconds": SECONDS,
    "any": Variants((COLUMNS, KLOG, SECONDS, NEW_SYSLOG, OLD_SYSLOG)),
}
"""Names of tests -> the formats."""
