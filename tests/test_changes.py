"""A format that changes in a running file: what is said of it, and what becomes of the lines.

Right is: one sentence, with the byte at which the first line of the new format begins (of one with
a header: its first directive), with the clock of the first line that has one, and with the format
that would be chosen of the new lines alone. Every line is a row or a dead letter. What is written
once the change was said is rows, as that format reads them.
"""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import accumulate, cycle, islice, zip_longest
from pathlib import Path
from typing import Any

from flows.parsing import EVENTS
from flows.parsing.ranking import Choice, choose, takes
from flows.parsing.times import WHEN_SEEN
from tests.conftest import DEADLINE, Pipeline, wait_for
from tests.tailing import append
from tests.test_samples import FILES, FOLDER, format_of, header_of, lines_of

# A header in front of the file is in the midst of none; any lines may go on with an event.
_NEVER_BEHIND = {"csv", "tsv", "raw"}
_RATE = 20  # lines a second of who writes slowly
_AT_ONCE = 5  # files that change at the same time


@dataclass(frozen=True)
class Change:
    """A file of so many lines of one kind, and then, at once or slowly, of another one.

    The kinds are files in tests/formats.
    """

    before: str
    after: str
    size: int = 200
    added: int = 60
    is_slow: bool = False

    @property
    def name(self) -> str:
        """That of its file."""
        return f"{self.before}-{self.after}-{self.size}.log"

    @cached_property
    def old(self) -> list[str]:
        return written(self.before, self.size)

    @cached_property
    def new(self) -> list[str]:
        return written(self.after, self.added)

    @cached_property
    def expected(self) -> Choice:
        """What is chosen of the new lines alone."""
        found = choose(self.new, headers={})
        assert found
        return found

    def row_of(self, line: str) -> dict[str, object] | None:
        """What it is to become."""
        return takes(self.expected.best.name, line, "UTC", self.expected.best.header)

    @property
    def clock(self) -> str:
        """That of the first new line that says one."""
        times = [row["timestamp"] for row in map(self.row_of, self.new) if row]
        return f", {times[0]:%H:%M:%S}" if times[0] != WHEN_SEEN else ""


def written(kind: str, count: int) -> list[str]:
    """So many lines as they stand in a file, what names their columns first."""
    text = (FOLDER / f"{kind}.log").read_text(encoding="utf-8").removesuffix("\n")
    head = text.split("\n")[: text.split("\n").index(lines_of(kind)[0])] if header_of(kind) else []
    return [*head, *islice(cycle(lines_of(kind)), count)]


def data(texts: Sequence[str]) -> bytes:
    return "".join(f"{text}\n" for text in texts).encode()


def shows(before: str, after: str) -> bool:
    """Whether lines of the one are refused where those of the other are read."""
    old, new = choose(written(before, 50)), choose(written(after, 50), headers={})
    assert old and new
    if old.best.name == new.best.name or format_of(after) in _NEVER_BEHIND:
        return False
    refused = [
        takes(old.best.name, text, "UTC", old.best.header) is None for text in lines_of(after)
    ]
    return all(refused) and not new.best.header.startswith(old.best.header[:2] or "-")


FEW = [
    Change("combined.nginx-1.22.1", "klog.klog-2.140", added=41),
    Change("ltsv.nginx-1.22.1", "docker.definition", is_slow=True),
    Change("syslog.rsyslog-8.2302.0", "w3c.definition-iis", size=2000),
    Change("raw.definition", "postgresql.postgresql-15.18"),
    Change("spring_boot.logback-1.2.11", "w3c.definition-iis"),
    Change("w3c.definition-iis", "zeek.definition-http"),
    Change("zeek.definition-http", "mysql_slow.definition"),
    Change("postgresql_csv.postgresql-15.18", "log4j.log4j-2.19.0", added=90),
]


def many() -> list[Change]:
    """Fifty of all kinds: some long, some slow, some in one burst that is longer than a batch."""
    rng = random.Random(50)
    found: dict[tuple[str, str], Change] = {}
    while len(found) < 50:
        pair = (rng.choice(FILES), rng.choice(FILES))
        if pair not in found and shows(*pair):
            size = rng.choice([200] * 8 + [20_000, 200_000])
            added, is_slow = rng.choice([(60, False), (60, True), (3000, False), (120_000, False)])
            found[pair] = Change(*pair, size, added, is_slow)
    return list(found.values())


class Watched:
    """A pipeline that follows a file for each change, and keeps its rows in SQLite."""

    def __init__(self, pipeline: Pipeline, changes: Sequence[Change]) -> None:
        self.pipeline = pipeline
        self.changes = changes
        self.said: list[str] = []
        self._logs = pipeline.directory / "logs"
        self._logs.mkdir()

    def start(self) -> None:
        """Start it, and hear what it says from now on."""
        process = self.pipeline.start(
            STORE="sqlite", LOG_FORMAT="auto", LOG_PATHS="logs/*", INSTANCE="a", ENRICHERS="none"
        )
        assert process.stderr
        threading.Thread(target=lambda: self.said.extend(process.stderr or ()), daemon=True).start()
        self.pipeline.wait_until_healthy()

    def path(self, change: Change) -> Path:
        return self._logs / change.name

    def ask(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.pipeline.directory / "data/logwax.sqlite")) as store:
            return store.execute(sql, values).fetchall()

    def wait_until_stored(self) -> None:
        """Wait until all that was written is rows and dead letters."""
        sizes = {one.name: self.path(one).stat().st_size for one in self.changes}

        def stored() -> dict[str, int]:
            ends = self.ask('SELECT path, max("end") FROM ingest_blocks GROUP BY path')
            return {Path(path).name: end for path, end in ends if path}

        wait_for(lambda: stored() == sizes, "all bytes in the store", pause=0.1)

    def change(
        self, changes: Sequence[Change], part: slice, seconds: float
    ) -> Iterator[tuple[Change, int]]:
        """Write new lines, some files at a time; each change has to be said so soon.

        Yields how long each file is by then.
        """
        for begin in range(0, len(changes), _AT_ONCE):
            some = changes[begin : begin + _AT_ONCE]
            self.write(some, part)
            self._wait_until_said(some, seconds)
            yield from ((one, self.path(one).stat().st_size) for one in some)

    def _wait_until_said(self, changes: Sequence[Change], seconds: float) -> None:
        end = time.monotonic() + seconds
        for one in changes:
            said = partial(self.sentences, one)
            wait_for(said, f"what is said of {one.name}", max(end - time.monotonic(), 0.1))

    def sentences(self, change: Change) -> list[str]:
        """What was said of a file as it ran."""
        return [said for said in list(self.said) if f"{change.name}, byte " in said]

    def write(self, changes: Sequence[Change], part: slice) -> None:
        """Write new lines of these changes, some of them slowly."""
        for one in changes:
            append(self.path(one), b"" if one.is_slow else data(one.new[part]))
        slow = [one for one in changes if one.is_slow]
        for texts in zip_longest(*(one.new[part] for one in slow)):
            for one, text in zip(slow, texts, strict=True):
                append(self.path(one), data([text] if text is not None else []))
            time.sleep(1 / _RATE)


def test_a_change_is_said_with_its_byte_and_its_clock_and_what_follows_is_rows(
    pipeline: Pipeline, soak: bool
) -> None:
    changes = many() if soak else FEW
    seconds = 10.0 if soak else DEADLINE
    killed = [one for one in changes[1::2] if format_of(one.before) not in EVENTS]
    others = [one for one in changes if one not in killed]
    watched = Watched(pipeline, changes)
    watched.start()
    for one in changes:
        append(watched.path(one), data(one.old))
    watched.wait_until_stored()

    behind = dict(watched.change(others, slice(None), seconds))
    watched.write(others, slice(-12, None))
    watched.write(killed, slice(4))  # too few to show what they are
    watched.wait_until_stored()
    assert pipeline.running
    pipeline.running.kill()
    pipeline.running.wait()
    watched.start()
    behind |= watched.change(killed, slice(4, None), seconds)
    watched.write(killed, slice(-12, None))
    watched.wait_until_stored()
    assert pipeline.stop() == 0

    for one in changes:
        begin = len(data(one.old))
        (said,) = watched.sentences(one)
        assert f"{one.name}, byte {begin:,}{one.clock}: " in said
        assert f" {one.expected.best.name} fits " in said
        rows = {place: tuple(row) for place, *row in watched.ask(_ROWS, one.name)}
        dead = {place for (place,) in watched.ask(_DEAD, one.name)}
        assert not rows.keys() & dead
        texts = [*one.new, *one.new[-12:]]
        for place, text in zip(offsets(texts, begin), texts, strict=True):
            row = one.row_of(text)
            if place >= behind[one]:
                assert row, text
                assert rows[place] == (row.get("message", ""), row.get("level", "")), text
            elif row:
                assert place in rows or place in dead, text


_ROWS = "SELECT offset, message, level FROM logs WHERE source LIKE '%' || ?"
_DEAD = "SELECT offset FROM dead_letters WHERE source LIKE '%' || ?"


def offsets(texts: Sequence[str], begin: int) -> list[int]:
    """Where each of these lines begins."""
    return [begin + at for at in accumulate([0, *(len(data([text])) for text in texts[:-1])])]
