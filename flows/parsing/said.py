"""Levels that messages say themselves, for formats whose lines have no place for one."""

from __future__ import annotations

import re

import polars as pl

from flows.parsing.formats.app import LEVELS, MEANINGS

_WORDS = (*LEVELS, "INFORMATIONAL", "Informational", "informational")
_UPPER = "|".join(word for word in _WORDS if word.isupper())
_OTHER = "|".join(word for word in _WORDS if not word.isupper())
_END = "(?:[^0-9A-Za-z_]|$)"
_NAMED = r"(?:log_?)?(?:[Ll]evel|[Ss]everity|[Pp]riority|pri)\"?[=:] ?\"?"
_AROUND = rf"^[^A-Za-z]*(?:{_NAMED})?|[^A-Za-z].*$"


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
    word = re.sub(_AROUND, "", found)
    return MEANINGS.get(word, word)


ANYWHERE = Said(
    rf"^(?:{_OTHER})[ /]|[,:\"](?:{_OTHER})\"?,[^ ]"
    rf"|(?:^|[^0-9A-Za-z_])(?:(?:{_UPPER}){_END}|(?:{_OTHER}) *[\]):>|\t]"
    rf"|{_NAMED}(?:{_OTHER}){_END})"
)
"""In capital letters; in any: first in the text, in front of `:`, `]`, `)`, `>`, `|` or a tab, as a
cell of CSV, or behind `level=` and the like."""

IN_FRONT = Said(rf"^[\[(<#: ]*(?:(?:{_UPPER}){_END}|(?:{_OTHER}) *[\]):>#])")
"""In front of the text: in capital letters, or in front of `:`, or in brackets."""
