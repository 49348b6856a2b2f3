"""Levels that messages say themselves, for formats whose lines have no place for one."""

from __future__ import annotations

import re

import polars as pl

from flows.parsing.fields import LETTERS
from flows.parsing.formats.app import LEVELS, MEANINGS
from flows.parsing.lines import Lines
from flows.parsing.parser import Format, Row

_WORDS = (*LEVELS, "INFORMATIONAL", "Informational", "informational")
_UPPER = "|".join(word for word in _WORDS if word.isupper() and word != "FTL")  # a program's name
_OTHER = "|".join(word for word in _WORDS if not word.isupper() or word == "FTL")
_LETTER = f"[{''.join(LETTERS)}]"
_END = "(?:[^0-9A-Za-z_]|$)"
_NAMED = r"(?:log_?)?(?:[Ll]evel|LEVEL|[Ss]everity|[Pp]riority|pri)\"?[=:] ?\"?"
_TAG = "[0-9A-Za-z_()<>@.,:/-]+"
_AROUND = re.compile(
    rf"^(?:{_TAG}: (?=[A-Za-z])|[^ ]+ (?=\[{_LETTER}\])|[0-9:.,]+Z)?[^A-Za-z]*(?:{_NAMED})?"
    "|[^A-Za-z].*$",
    re.ASCII,
)


class Said:
    """The first word that is a level where an expression finds one, with what is around it."""

    def __init__(self, expression: str) -> None:
        self._text = expression
        self._find = re.compile(expression, re.ASCII)

    def line(self, text: str) -> str:
        """The level that a text says, empty if none."""
        found = self._find.search(text)
        return _level(found.group()) if found else ""

    def columns(self, texts: pl.Series) -> pl.Series:
        """The same of many; null where a text says none."""
        found = texts.str.extract(self._text, 0)
        if found.null_count() == len(found):
            return found
        levels = {each: _level(each) for each in found.unique() if each}
        return found.replace_strict(levels, default=None, return_dtype=pl.String)


def _level(found: str) -> str:
    word = _AROUND.sub("", found)
    return LETTERS.get(word) or MEANINGS.get(word, word)


ANYWHERE = Said(
    rf"^(?:{_OTHER})[ /]|^(?:[\[(]{_LETTER}[\])] |<{_LETTER}>|\[ ?{_LETTER} [0-9]|{_LETTER} \[)"
    rf"|^{_LETTER}(?:/[0-9A-Za-z_.]{{3,}}[ (]|[0-9]{{4,6}} [0-9]{{2}}:)"
    rf"|[,:\"](?:{_OTHER})\"?,[^ ]"
    rf"|:[0-9]{{2}}(?:[.,][0-9]+)?Z?:? {_LETTER}!? |\] {_LETTER} \[|\]\[{_LETTER}\]\["
    rf"| {_LETTER}/[0-9A-Za-z_.]{{3,}}[:(]"
    rf"|(?:^|[^0-9A-Za-z_])(?:(?:{_UPPER}){_END}|(?:{_OTHER}) *[\]):>|\t]"
    rf"|{_NAMED}(?:{_OTHER}){_END})"
)
"""In capital letters; in any: first in the text, in front of `:`, `]`, `)`, `>`, `|` or a tab, as a
cell of CSV, or behind `level=` and the like; its first letter in front of the text or of its place.
"""

IN_FRONT = Said(
    rf"^(?:\[[0-9:]+\] )?[\[(<#: ]*(?:(?:{_UPPER}){_END}|(?:{_OTHER}) *[\]):>#])"
    rf"|^{_TAG}: (?:{_UPPER}|{_OTHER}):|^[^ ]+ \[{_LETTER}\] "
)
"""In front of the text, or behind a name and a colon there: in capital letters, or in front of `:`,
or in brackets; its first letter in brackets."""


class WithLevel:
    """A format whose messages say how severe they are in front, where its lines do not."""

    def __init__(self, plain: Format) -> None:
        self._plain = plain

    def line(self, text: str) -> Row:
        """One line. Raises `MalformedLine`."""
        row = self._plain.line(text)
        return (
            row
            if row.get("level")
            else {**row, "level": IN_FRONT.line(str(row.get("message", "")))}
        )

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those that are not as usual are left open."""
        frame = self._plain.columns(lines)
        if "message" not in frame.columns:
            return frame
        said = IN_FRONT.columns(frame["message"]).fill_null("")
        if "level" in frame.columns:
            said = frame["level"].replace({"": None}).fill_null(said)
        return frame.with_columns(level=said)
