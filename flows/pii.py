"""What nobody shall keep: it is dropped, masked or hashed before anything else sees a batch.

A rule is about a column, a key of `attributes`, or a pattern in every text that a client may have
sent. The log file itself is not changed.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property, partial
from typing import Any

import polars as pl

from connectors.accounts import FRAGMENTS
from connectors.batch import COLUMNS, Fit, Parsed
from connectors.distinct import distinct
from connectors.encodings import Encoding
from flows.parsing.dialects import DIALECTS, USUAL
from flows.parsing.parser import RAW
from flows.personal import PATTERNS, Instead, is_secret, masked_address

ACTIONS = ("drop", "hash", "mask")

TEXTS = ("customer_id", "request_path", "client_ip", "user_agent", "referer", "message")
"""Columns in which patterns are looked for, beside `attributes`."""

_COLUMNS = (*TEXTS, "method", "level", "host")
_JSON = ("attributes", "event_context")  # the second one of events
_KEY = "attributes."
_PERSONAL = {"customer_id", "client_ip", "user_agent", "referer"}
_DIGITS = 16  # of a hash

NOT_SHOWN = "not shown, for PII hides something of the line"
"""What the detail of a dead letter is then."""

NO_LINE = "no line is shown, for PII is set; `logwax check` shows some."
"""What an advice says of lines then."""

Path = tuple[str, ...]
"""The way to a value in `attributes`."""


@dataclass(frozen=True)
class Rules:
    """What is done with columns, with the values at paths in `attributes`, and with patterns.

    Of a path it is what its value is called, and what is done. `key` is that of hashes
    (HMAC-SHA-256, RFC 2104, the first 16 hexadecimal digits).
    """

    columns: Mapping[str, str]
    paths: Mapping[Path, tuple[str, str]]
    patterns: Mapping[str, str]
    key: str = ""

    @classmethod
    def of(cls, text: str, key: str = "") -> Rules:
        """The rules that `PII` means; raises `ValueError`, which says all that is wrong."""
        found: dict[str, str] = {}
        problems = []
        for part in filter(None, map(str.strip, text.split(","))):
            name, _, action = map(str.strip, part.partition("="))
            if action not in ACTIONS:
                problems.append(f"{part!r} does not say what to do: {name}= {' or '.join(ACTIONS)}")
            elif not (name in PATTERNS or name in _COLUMNS or name[: len(_KEY)] == _KEY != name):
                near = get_close_matches(name, [*PATTERNS, *_COLUMNS], 1)
                hint = f"did you mean {near[0]}?" if near else f"attributes are {_KEY}{name}"
                problems.append(f"{name!r} is neither a pattern nor a column of text; {hint}")
            elif found.setdefault(name, action) != action:
                problems.append(f"{name!r} has two rules")
        if "hash" in found.values() and not key:
            problems.append("hash needs a key: PII_KEY, a long random text")
        if problems:
            raise ValueError("; ".join(problems))
        paths: dict[Path, tuple[str, str]] = {}
        for name, action in found.items():
            if name in _COLUMNS:
                paths.update(dict.fromkeys(_meaning(name), (name, action)))
        for name, action in found.items():
            if name.startswith(_KEY):  # it wins over the column that it may mean
                written = name.removeprefix(_KEY)
                way = tuple(written.split("."))
                paths.update(dict.fromkeys([(written,), way], (way[-1], action)))
        return cls(
            {name: action for name, action in found.items() if name in _COLUMNS},
            paths,
            {name: action for name, action in found.items() if name in PATTERNS},
            key,
        )

    def hide(self, batch: Parsed, encoding: Encoding) -> Parsed:
        """The batch without what the rules are about; `encoding` is that of its lines."""
        letters = partial(self.letters, encoding=encoding)
        return replace(
            batch,
            rows=self._rows(batch.rows),
            rejected=letters(batch.rejected),
            fits=tuple(map(_without_line, batch.fits)),
            reject=lambda refused: letters(batch.reject(refused)),
        )

    def letters(self, letters: pl.DataFrame, encoding: Encoding) -> pl.DataFrame:
        """Dead letters (`REJECTED`) likewise.

        Nobody knows where a column is in a line that is no row: with a rule about one, nothing of
        the line is kept.
        """
        if letters.is_empty() or not (self.paths or self.patterns):
            return letters
        made = []
        for raw, reason, detail in letters.select("raw", "reason", "detail").rows():
            kept = b"" if self.paths else self._raw(raw, reason, encoding)
            # A detail may quote half of a value, but not where it tells of the row, or of sizes.
            is_told = kept == raw or reason in ("rejected", *FRAGMENTS)
            made.append((kept, self._text(detail) if is_told else NOT_SHOWN))
        raws, details = zip(*made, strict=True)
        return letters.with_columns(
            raw=pl.Series(raws, dtype=pl.Binary()), detail=pl.Series(details, dtype=pl.String())
        )

    def _raw(self, raw: bytes, reason: str, encoding: Encoding) -> bytes:
        errors = "surrogateescape" if encoding.unit == 1 else "replace"
        before = raw.decode(encoding.name, errors)
        text = before
        if reason == "too_long":  # what the cut goes through is not known again
            text = text.rstrip("0123456789 -")
            text = text[: text.rfind(" ") + 1]
        text = self._text(text)
        return raw if text == before else text.encode(encoding.name, errors)

    def _rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        made = []
        for name, action in self.columns.items():
            if name in rows.columns:
                made.append(_mapped(rows[name], self._instead(name, action)))
        if self.patterns:
            made += [
                self._column(self._masked(rows[name]), self._may_be, self._text)
                for name in TEXTS
                if name in rows.columns and name not in self.columns
            ]
        made += [
            self._column(rows[name], self._may_be_in_json, self._json)
            for name in _JSON
            if name in rows.columns
        ]
        return rows.with_columns(made)

    def _column(
        self, texts: pl.Series, may: Callable[[pl.Series], pl.Series], hide: Instead
    ) -> pl.Series:
        """The texts, of which those that may have something were looked at."""
        which = may(texts)
        if not which.any():
            return texts
        return texts.scatter(which.arg_true(), _mapped(texts.filter(which), hide))

    def _masked(self, texts: pl.Series) -> pl.Series:
        """The texts, with what can be masked in a column at once."""
        for name, action in self.patterns.items():
            masks = PATTERNS[name].masks
            if action == "mask" and masks:
                texts = texts.str.replace_all(*masks)
        return texts

    def _may_be(self, texts: pl.Series) -> pl.Series:
        """Which texts may have something, where they are `_masked`."""
        found = [
            PATTERNS[name].rest if action == "mask" and PATTERNS[name].rest else PATTERNS[name].may
            for name, action in self.patterns.items()
        ]
        return texts.str.contains(_any_of(found))

    def _may_be_in_json(self, texts: pl.Series) -> pl.Series:
        keys = {f'"{path[0]}"' for path in self.paths}
        may = texts.str.contains_any([*sorted(keys), f'"{RAW}"', "\\u"])
        if not self.patterns:
            return may
        return may | texts.str.contains(_any_of(PATTERNS[name].may for name in self.patterns))

    @cached_property
    def _hiders(self) -> list[tuple[Callable[[str, Instead], str], Instead]]:
        return [
            (PATTERNS[name].hide, self._instead(name, action))
            for name, action in self.patterns.items()
        ]

    def _text(self, text: str) -> str:
        for hide, instead in self._hiders:
            text = hide(text, instead)
        return text

    def _instead(self, name: str, action: str) -> Instead:
        """What stands for a value; nothing for none."""
        if action == "drop":
            return lambda value: ""
        if action == "hash":
            return self._hash
        if name in ("address", "client_ip"):
            return lambda value: value and masked_address(value)
        return lambda value: value and f"<{name}>"

    def _hash(self, value: str) -> str:
        if not value:
            return ""
        key, data = self.key.encode(), value.encode(errors="surrogateescape")
        return hmac.digest(key, data, "sha256").hex()[:_DIGITS]

    def _json(self, text: str) -> str:
        """An object as JSON; what cannot be read cannot be vouched for, and is left out."""
        try:
            found, changed = json.loads(text), json.loads(text)
            if isinstance(changed, dict):
                changed.pop(RAW, None)
                for path, (name, action) in self.paths.items():
                    _at(changed, path, action, self._instead(name, action))
            changed = self._value(changed)
        except (ValueError, RecursionError):
            return "{}"
        return text if changed == found else _dumped(changed)

    def _value(self, value: Any) -> Any:
        """A value of JSON whose texts, keys among them, went through the patterns; a copy."""
        if isinstance(value, dict):
            return {self._text(key): self._under(key, one) for key, one in value.items()}
        if isinstance(value, list):
            return [self._value(one) for one in value]
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            written = _dumped(value)
            hidden = self._text(written)
            return value if hidden == written else hidden
        return value

    def _under(self, key: str, value: Any) -> Any:
        if "token" in self.patterns and is_secret(key) and not isinstance(value, dict | list):
            if value in (None, "") or isinstance(value, bool):
                return value
            return self._instead("token", self.patterns["token"])(_written(value))
        return self._value(value)


def _meaning(column: str) -> list[Path]:
    """The paths under which lines may have another value that means this column."""
    dialects = (USUAL, *DIALECTS) if column in _PERSONAL else (USUAL,)
    aliases = [one for dialect in dialects for one in dialect.aliases if one.column == column]
    paths = [path for alias in aliases for path in ((alias.key,), alias.path)]
    odd = [("request",)] if column == "request_path" else []  # a whole one, of another shape
    return list(dict.fromkeys([(column,), *paths, *odd]))


def _at(found: Any, path: Path, action: str, instead: Instead) -> None:
    """Hide what is at a path, if anything is."""
    holder: Any = None
    key: str | int = ""
    for step in path:
        holder, key = found, int(step) if isinstance(found, list) and step.isdecimal() else step
        try:
            found = holder[key]
        except (KeyError, IndexError, TypeError):
            return
    if action == "drop":
        del holder[key]
    elif found not in (None, ""):
        holder[key] = instead(_written(found))


def _any_of(expressions: Iterable[str]) -> str:
    return "|".join(f"(?:{one})" for one in expressions)


def _written(value: Any) -> str:
    return value if isinstance(value, str) else _dumped(value)


def _dumped(value: Any) -> str:
    written = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return written.encode(errors="replace").decode()  # half of a surrogate pair is no UTF-8


def _mapped(texts: pl.Series, change: Instead) -> pl.Series:
    """Each text changed; once for all that are the same."""
    values, which = distinct(texts)
    changed = pl.Series([change(value) for value in values.to_list()], dtype=pl.String())
    return changed.gather(which).alias(texts.name)


def _without_line(fit: Fit) -> Fit:
    return replace(fit, advise=lambda: NO_LINE) if fit.advise else fit


assert set(_COLUMNS) <= COLUMNS.keys()
