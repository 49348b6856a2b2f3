"""The patterns of messages that a store has, and which of them are one to whoever reads them.

What a message has in common with others is found when it is stored, by the message alone
(`flows/enrichment/patterns.py`). A name that no mask takes for one leaves many patterns that differ
in one word. They are seen when patterns are read, beside one another, and only shown as one: ids
stay as they are stored.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

MANY = 6
"""Words at one place of patterns that are the same elsewhere: with as many, they vary."""

MOST = 10_000
"""Patterns that are looked at, the most frequent ones."""

_VARIES = "<*>"
_FIXED = 2  # words that must be the same


@dataclass(frozen=True)
class Seen:
    """A pattern, how many rows have it, and the times of the first and the last of them.

    Times are in microseconds since 1970.
    """

    id: str
    pattern: str
    count: int
    first: int
    last: int


@dataclass(frozen=True)
class Group:
    """Patterns that are shown as one, the most frequent first."""

    pattern: str
    members: Sequence[Seen]

    @property
    def count(self) -> int:
        """The rows of all."""
        return sum(one.count for one in self.members)

    @property
    def first(self) -> int:
        """The time of the first row."""
        return min(one.first for one in self.members)

    @property
    def last(self) -> int:
        """The time of the last row."""
        return max(one.last for one in self.members)


def grouped(seen: Sequence[Seen], before: Collection[Seen] = ()) -> Sequence[Group]:
    """What is seen, as it is shown: without the groups of which a member was there `before`."""
    shown = common(one.pattern for some in (seen, before) for one in some)
    there = {shown[one.pattern] for one in before}
    groups: dict[str, list[Seen]] = defaultdict(list)
    for one in seen:
        if shown[one.pattern] not in there:
            groups[shown[one.pattern]].append(one)
    return [
        Group(pattern, sorted(members, key=lambda one: (-one.count, one.id)))
        for pattern, members in groups.items()
    ]


def common(patterns: Iterable[str]) -> Mapping[str, str]:
    """As what each of these patterns is shown: with `<*>` where `MANY` differ in one word.

    It depends on these patterns, not on their order. The first word is what happens: it stays.
    """
    rows = [(pattern, pattern.split(" ")) for pattern in dict.fromkeys(patterns)]
    by_length: dict[int, list[list[str]]] = defaultdict(list)
    for _, words in rows:
        by_length[len(words)].append(words)
    for length, alike in by_length.items():
        if len(alike) >= MANY:
            for place in range(1, length):
                _merge(alike, place)
    return {pattern: " ".join(words) for pattern, words in rows}


def _merge(rows: Sequence[list[str]], place: int) -> None:
    """Put `<*>` at this place of the rows that are the same elsewhere, where many words stand."""
    same: dict[str, list[list[str]]] = defaultdict(list)
    for words in rows:
        same[" ".join((*words[:place], *words[place + 1 :]))].append(words)
    for rest, alike in same.items():
        fixed = sum(word[:1].isalpha() for word in rest.split(" "))
        if fixed >= _FIXED and len({words[place] for words in alike}) >= MANY:
            for words in alike:
                words[place] = _VARIES
