"""Format `app`: a time, a level and a message, as most programs write them, in either order.

No program's own: what is left when nobody has said anything else in its settings of `logging`,
log4j, winston, log/slog and the like. Levels are those of syslog, java.util.logging, logging, and
what these are shortened to. Colours for a terminal (ECMA-48, SGR) are no part of a line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from flows.parsing.colours import Coloured
from flows.parsing.layout import Field, Layout, Maybe, Part, Variants
from flows.parsing.times import ISO_8601
from flows.parsing.translate.python import translate
from native.lines import Rest, Shape

_NAMES = "info warn error debug warning trace fatal critical notice alert emergency emerg crit err"
_OTHERS = "panic success information"
MEANINGS = {
    "SEVERE": "error",
    "CONFIG": "debug",
    "FINE": "debug",
    "FINER": "debug",
    "FINEST": "trace",
    "VERBOSE": "trace",
    "Verbose": "trace",
    "verbose": "debug",
    "silly": "trace",
    "trce": "trace",
    "dbug": "debug",
    "fail": "error",
    "ERRO": "error",
    "DEBG": "debug",
    "DDEBUG": "debug",
    "SUBDEBUG": "debug",
    "TRAC": "trace",
    "BLAT": "trace",
    "INF": "info",
    "WRN": "warn",
    "DBG": "debug",
    "VRB": "trace",
    "FTL": "fatal",
    "TRC": "trace",
    "PNC": "panic",
}
"""Levels that few programs have: those of java.util.logging, of winston (where `verbose` is above
`debug`), of Microsoft.Extensions.Logging, supervisord, Serilog, zerolog,
nats-server and DNF."""

LEVELS = {
    name: name
    for each in f"{_NAMES} {_OTHERS}".split()
    for name in (each.upper(), each, each.capitalize())
} | MEANINGS
"""All that a level may be, the usual ones first, and what it means."""

SLASHES = "%Y/%m/%d %H:%M:%S"


def texts(
    reason: str,
    *templates: str,
    time: str = ISO_8601,
    levels: Mapping[str, str] = LEVELS,
    samples: tuple[str, ...] = (),
    rest: Rest = Rest.NONE,
) -> tuple[Layout, ...]:
    """A layout for each template, which is in the style `{` of `logging`.

    `time` is how a time is written; a level is one of `levels`, which say what they mean; `rest` is
    behind the message. The samples are of the first one.
    """
    shape = Shape.WORDS if any(" " in name for name in levels) else Shape.WORD
    level = Field("level", "level", shape, choices=tuple(levels), words=levels)

    def fitted(part: Part | Maybe) -> Part | Maybe:
        if not isinstance(part, Field):
            return part
        if part.column == "timestamp":
            return replace(part, time=time)
        if part.column == "message":
            return replace(part, rest=rest)
        return level if part.column == "level" else part

    layouts = map(translate, templates)
    made = [replace(one, parts=tuple(map(fitted, one.parts)), reason=reason) for one in layouts]
    return (replace(made[0], samples=samples), *made[1:])


_TEMPLATES = (
    "{time} {level:9} {message}",
    "{time} [{level}]  {message}",
    "    {time} [{level}]  {message}",
    "    {time} [{level}] {message}",
    "{time} [{level:9}] {message}",
    "[{time}] [{level:9}] {message}",
    "[{time}] {level:9} {message}",
    "{time} {level:9}: {message}",
    "[{time}] {level:9}: {message}",
    "{time} [{level:9}]: {message}",
    "[{time}] [{level:9}]: {message}",
    "{time} - {level:9} - {message}",
    "{time} - {level:9}: {message}",
    "{time} | {level:9} | {message}",
    "{time}|{level:9}|{message}",
    "{time}\t{level}\t{message}",
    "{time} <{level}> {message}",
    "{level:9} {time} {message}",
    "{level:9}: {time} {message}",
    "[{level:9}] {time} {message}",
    "[{level:9}] [{time}] {message}",
    "{level:9} [{time}] {message}",
    "[{time} {level:9}] {message}",
    "{level:9}: [{time}] {message}",
    "{time}: [{level:9}] {message}",
    "{time}: {level:9}: {message}",
    "{time}:{level}:{message}",
    "{time}::{level}::{message}",
    "{time} [{level}][{logger}]: {message}",
    "{time} [{level}][{logger}] {message}",
    "[{time}][{level}] {message}",
    "[{time}][{level}][{logger}] {message}",
    "[{time}][{logger}][{level}] {message}",
    "[{time}] {level}/{logger}: {message}",
)
FORMAT = Coloured(
    Variants(
        (
            *texts(
                "not_app",
                *_TEMPLATES,
                samples=(
                    "2026-11-22 20:15:05,123 INFO order 4711 stored",
                    "2026-11-22T20:15:05.123456+01:00 warning  no answer from caf\u00e9",
                ),
            ),
            *texts("not_app", *_TEMPLATES, time=SLASHES),
        )
    )
)
