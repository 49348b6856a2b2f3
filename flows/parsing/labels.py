"""Lines of texts with labels, which mean what keys mean in `json`: LTSV, CEF and LEEF."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from zoneinfo import ZoneInfo

import polars as pl

from connectors.errors import MalformedLine
from flows.parsing.keys import columns_of
from flows.parsing.lines import Lines
from flows.parsing.objects import Objects
from native.lines import MOST_KEYS, Form, Key, Keys, Kind, Pairs, Tell

Texts = dict[str, str]
"""The texts of a line by their labels, those of its head before others."""


@dataclass(frozen=True)
class Spelling:
    """How the compiled part finds the members in lines like some.

    `names` has what labels mean that do not mean what `Labelled.names` says: all keys that have the
    text, or none, for what is left open. It begins with the labels of the head. The text of `asked`
    is a request line, of which the other keys have the parts. `needed` keys are in each line that
    is not left open. Keys that are there `again` count as they are there last. `words` are what
    texts mean of some keys.
    """

    pairs: Pairs
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    asked: str = ""
    needed: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Labelled:
    """A format: `split` takes a line apart, `names` say what labels mean, `members` what all means.

    `spell` is told the texts of some lines, and the first of these lines; None: all are left open.
    `split` and `members` raise `MalformedLine`. `samples`: see `Description`.
    """

    split: Callable[[str], Texts]
    members: Callable[[Texts], dict[str, object]]
    names: Mapping[str, str]
    spell: Callable[[Sequence[Texts], str], Spelling | None]
    samples: tuple[str, ...]

    def make(self, time_zone: ZoneInfo, duration_shift: int = 0) -> LabelledFormat:
        """See `Description`."""
        return LabelledFormat(self, time_zone, duration_shift)


class LabelledFormat(Objects):
    """See the module's docstring."""

    def __init__(self, form: Labelled, time_zone: ZoneInfo, duration_shift: int) -> None:
        super().__init__(lambda text: form.members(form.split(text)), time_zone, duration_shift)
        self._form = form

    def columns(self, lines: Lines) -> pl.DataFrame:
        """All lines at once; those that are not as usual are left open."""
        sample: list[tuple[str, Texts]] = []

        def members(line: bytes) -> dict[str, object]:
            try:
                text = line.decode()
                texts = self._form.split(text)
            except (MalformedLine, UnicodeDecodeError):
                return {}
            sample.append((text, texts))
            return self._form.members(texts)

        return columns_of(
            Form.PAIRS,
            lines,
            members,
            self._zone,
            self._shift,
            needs_time=self._needs_time,
            spell=partial(_spelled, self._form, sample),
        )


def _spelled(form: Labelled, sample: Sequence[tuple[str, Texts]], keys: Keys) -> Keys:
    """The keys by the labels that lines like these have."""
    texts = [texts for _, texts in sample]
    spelling = form.spell(texts, sample[0][0]) if sample else None
    if not spelling:
        return keys._replace(all=[])
    counts = Counter(label for each in texts for label in each)
    known = {key.name: _worded(key, spelling) for key in keys.all[: keys.top]}
    top: list[Key] = []
    inside: list[Key] = []
    taken: set[str] = set()
    for number, label in enumerate({**spelling.names, **dict(counts.most_common())}):
        names = spelling.names.get(label, (form.names.get(label, label),))
        is_head = number <= spelling.pairs.fields > 0
        is_cut = spelling.pairs.between in label or "|" in label  # by what other lines are between
        if not is_head and (not names or not label or is_cut or names[0] in taken):
            continue
        if len(top) + len(inside) + len(names) > MOST_KEYS:
            continue
        own, *others = [
            known.get(name, Key(name, "attributes", Kind.ATTRIBUTE if is_head else Kind.NOTHING))
            for name in names
        ]
        if label == spelling.asked:
            if [key.kind for key in others] != [Kind.TEXT, Kind.TEXT, Kind.ATTRIBUTE]:
                continue
            own = own._replace(kind=Kind.ASKED)
        top.append(own._replace(label=label, first=len(inside), inside=len(others)))
        inside += others
        taken |= {*names} - {*spelling.again}
    head = [*spelling.names][: spelling.pairs.fields + 1] if spelling.pairs.fields else []
    order = [*dict.fromkeys([*head, *counts, *spelling.names])]  # as in a line: it is found sooner
    top.sort(key=lambda key: order.index(key.label))
    places = {key.name: place for place, key in enumerate([*top, *inside])}

    def placed(key: Key) -> Key:
        main = keys.all[key.main].name if keys.all else ""
        if key.kind is Kind.LESSER and main not in places:
            key = key._replace(kind=Kind.NOTHING)
        return key._replace(
            first=len(top) + key.first if key.inside else 0, main=places.get(main, 0)
        )

    tells = []
    needed = tuple(places[name] for name in spelling.needed if name in places)
    for tell in (*keys.tells, *((Tell((), True),) if keys.untold else ())):
        of = [keys.all[number].name for number in tell.keys]
        if all(name in places for name in of):
            more = needed if tell.is_ours else ()
            tells.append(Tell((*(places[name] for name in of), *more), tell.is_ours))
    return keys._replace(
        all=[placed(key) for key in [*top, *inside]],
        top=len(top),
        tells=tells,
        untold=False,
        pairs=spelling.pairs,
    )


def _worded(key: Key, spelling: Spelling) -> Key:
    """A key with the words that its texts mean, and none that are within its values."""
    key = key._replace(first=0, inside=0)
    words = spelling.words.get(key.name)
    if not words:
        return key
    kind = key.kind if key.kind is Kind.NAMED else Kind.NOTHING
    others = {word: meaning for word, meaning in key.words if word not in words}
    return key._replace(kind=kind, words=tuple({**words, **others}.items()))
