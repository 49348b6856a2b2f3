r"""A pattern of logback or Log4j to a layout: `%d{yyyy-MM-dd HH:mm:ss} [%t] %-5level %c - %m%n`.

By the manual of logback, "Layouts", that of Log4j 2, "Pattern Layout", and Java's classes
DateTimeFormatter and, of Log4j 1.2, PatternLayout. Colours are no part of a line, and what stands
behind `%n`, such as a trace, is none of the first line of an event.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from flows.parsing.fields import Escapes
from flows.parsing.layout import Field, Layout
from flows.parsing.times import ISO_8601
from flows.parsing.translate.parts import Part, layout_of, padded, pieces
from native.lines import Meaning, Shape

_PROPERTY = re.compile(r"\$\{(?P<name>[^{}:]+)(?::-(?P<default>[^{}]*))?\}")
_STYLED = re.compile(r"%(?:highlight|style)\{((?:[^{}]|\{[^{}]*\})*)\}(?:\{[^{}]*\})?")
_PIECE = re.compile(
    r"%(?P<width>-?\d*(?:\.-?\d+)?)(?:(?P<group>[A-Za-z]*)\(|(?P<word>[A-Za-z]+))"
    r"(?P<options>(?:\{[^}]*\})*)"
    r"|(?P<end>\))(?:\{[^}]*\})*|\\(?P<escaped>.)|%%|(?P<alone>%)"
)
_NAMES = {
    "p le level": "level",
    "m msg message": "message",
    "c lo logger": "logger",
    "t thread tn threadName": "thread",
    "T tid threadId": "thread_id",
    "C class": "class",
    "F file": "file",
    "L line": "line",
    "M method": "function",
    "l location": "location",
    "r relative": "elapsed",
    "pid processId": "pid",
    "sn sequenceNumber": "sequence",
    "x NDC": "context",
    "X mdc MDC": "context",
    "marker": "marker",
    "cn contextName": "context_name",
}
_FIELDS = {word: name for words, name in _NAMES.items() for word in words.split()}
_WORDS = {"level", "logger", "class", "line", "elapsed", "pid", "sequence", "thread_id"}
_BEHIND = re.compile("n|ex|[a-z]*[eE]xception|[a-z]*[tT]hrowable|[rxw]Ex")
_TIMES = {
    "DEFAULT": "yyyy-MM-dd HH:mm:ss,SSS",
    "DATE": "dd MMM yyyy HH:mm:ss,SSS",
    "ISO8601_BASIC": "yyyyMMdd'T'HHmmss,SSS",
    "ISO8601_OFFSET_DATE_TIME_HHCMM": "yyyy-MM-dd'T'HH:mm:ss,SSSXXX",
    "ISO8601_OFFSET_DATE_TIME_HHMM": "yyyy-MM-dd'T'HH:mm:ss,SSSXX",
    "ISO8601_OFFSET_DATE_TIME_HH": "yyyy-MM-dd'T'HH:mm:ss,SSSX",
}
_EPOCHS = ("UNIX", "UNIX_MILLIS")
_LETTERS = re.compile(r"'([^']*)'|(s+)[.,]S+|(([A-Za-z])\4*)|.", re.DOTALL)
_DIRECTIVES = {
    letters: directive
    for directive, group in {
        "%Y": "yyyy uuuu y u",
        "%y": "yy uu",
        "%m": "MM M",
        "%b": "MMM LLL",
        "%d": "dd d",
        "%a": "EEE EE E",
        "%H": "HH H",
        "%I": "hh h",
        "%M": "mm m",
        "%S": "ss s",
        "%f": "SSS SSSSSS SSSSSSSSS",
        "%p": "a",
        "%z": "XXX XX X xxx xx x ZZZ ZZ Z",
        "%Z": "z zzz",
    }.items()
    for letters in group.split()
}


def translate(text: str) -> Layout:
    """The layout of a pattern. Raises `ValueError` for what it cannot mean, with the place."""
    return layout_of(_parts(_plain(text)), "not_log_format", Escapes.NONE)


def _plain(text: str) -> str:
    """The pattern without properties and colours."""

    def value(found: re.Match[str]) -> str:
        if found["name"] == "PID":
            return "%pid"
        if found["default"] is None:
            raise ValueError(f"{found.group()} at {found.start() + 1} has no value here")
        return found["default"]

    while _PROPERTY.search(text):
        text = _PROPERTY.sub(value, text, count=1)
    return _STYLED.sub(r"\1", text)


def _parts(text: str) -> Iterator[Part]:
    groups: list[bool] = []  # those that are open, and whether they have a width
    for place, piece in pieces(_PIECE, text):
        if isinstance(piece, str):
            yield place, piece
        elif piece["alone"]:
            raise ValueError(f"% at {place} is no conversion word")
        elif piece["group"] is not None:
            groups.append(bool(piece["width"]))
        elif piece["end"]:
            if groups:
                groups.pop()
            else:
                yield place, piece.group()
        elif not piece["word"]:
            yield place, piece["escaped"] or "%"
        elif _BEHIND.fullmatch(piece["word"]):
            return
        else:
            field = _field(piece["word"], re.findall(r"\{([^}]*)\}", piece["options"]), place)
            is_padded = any((piece["width"], *groups))
            yield from padded(place, field) if is_padded else [(place, field)]


def _field(word: str, options: list[str], place: int) -> Field:
    if word in ("d", "date"):
        return _time(options, place)
    name = _FIELDS.get(word)
    if name is None:
        raise ValueError(f"%{word} at {place} cannot be read")
    if name == "context" and options:
        return Field(options[0].partition(":-")[0], shape=Shape.WORDS)
    column = name if name in ("level", "message") else ""
    empty = () if column else ("-",)
    return Field(name, column, Shape.WORD if name in _WORDS else Shape.WORDS, empty=empty)


def _time(options: list[str], place: int) -> Field:
    written, _, zone = (options or ["DEFAULT"])[0].strip("\"' ").partition('", ')
    written, _, other = written.partition(", ")
    if zone or other or options[1:]:
        raise ValueError(f"leave out the zone of the time at {place}, and set LOG_TIMEZONE")
    if written in _EPOCHS:
        return Field("time", "timestamp", time=Meaning.EPOCH)
    if written in ("ISO8601", ""):
        return Field("time", "timestamp", time=ISO_8601)
    directives = ""
    for found in _LETTERS.finditer(_TIMES.get(written, written)):
        literal, seconds, letters, _ = found.groups()
        if letters and letters not in _DIRECTIVES:
            raise ValueError(f"{letters} of the time at {place} cannot be read")
        directives += "%S" if seconds else _DIRECTIVES[letters] if letters else found.group()
        if literal is not None:
            directives = directives[: -len(found.group())] + (literal or "'")
    return Field("time", "timestamp", time=directives)
