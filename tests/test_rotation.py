"""Rotation in all its forms, at random: a model of what could be read, and the real source."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import itertools
import lzma
import os
import random
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest.mock import patch

import hypothesis.strategies as st
from backports import zstd
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from connectors.batch import Batch, BlockId
from connectors.sources import catalog, roster
from connectors.sources.files import FileSource
from connectors.sources.tailed_file import Limits
from tests.tailing import Memory

LIMITS = Limits(lines=1000, bytes=4096, seconds=1.0)


PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".zst": zstd.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
}


class Clock:
    """Time as the source sees it, so that minutes pass in no time."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class NoEvents:
    """A file system without events: names are looked at each time."""

    blind = True
    trouble = ""

    def watch(self, directories: dict[str, bool]) -> None:
        pass

    def take(self) -> tuple[dict[str, float], bool]:
        return {}, True

    def close(self) -> None:
        pass


class Store(Memory):
    """A memory that asserts that no bytes come twice, and that can be killed while it writes."""

    def write(self, batch: Batch, share: float = 1.0) -> None:
        """Store a batch, or a share of its lines, as if killed then."""
        if not batch.in_doubt:
            self.start_at(batch.segments)
        at = 0
        for segment in batch.segments:
            length = segment.end - segment.start
            offset = segment.start
            for line in batch.data[at : at + length].splitlines(keepends=True):
                identity = (segment.file_id, offset)
                offset += len(line)
                if random.random() >= share:  # seeded by hypothesis
                    continue
                if batch.in_doubt and identity in self.lines:
                    assert self.lines[identity] == line, "a block is repeated as other bytes"
                    continue
                assert identity not in self.lines, "the same bytes twice"
                self.lines[identity] = line
            at += length
        if share < 1:
            self.in_doubt[BlockId(len(self.history), 1)] = batch.segments
        elif batch.in_doubt and batch.is_whole:
            del self.in_doubt[batch.in_doubt]


class File:
    """A file as the model knows it: its lines, and whether the source has met it."""

    def __init__(self, path: Path) -> None:
        self.path: Path | None = path
        self.lines: list[bytes] = []
        self.met = False
        self.noticed = 0

    @property
    def size(self) -> int:
        return sum(map(len, self.lines))


class Rotation(RuleBasedStateMachine):
    """Writes, rotates, restarts; every line that could be read is stored, each of them once."""

    steps = 0

    @invariant()
    def count(self) -> None:
        Rotation.steps += 1

    @initialize(covered=st.booleans())
    def begin(self, covered: bool) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.clock = Clock()
        self.patches = contextlib.ExitStack()
        for module in (catalog, roster):
            self.patches.enter_context(patch.object(module, "time", self.clock))
        self.patches.enter_context(patch.object(roster, "Watcher", NoEvents))
        self.live = self.directory / "app.log"
        self.pattern = str(self.live) + ("*" if covered else "")
        self.covered = covered
        self.store = Store()
        self.number = 0
        self.current: File | None = None
        self.rotated: dict[int, File] = {}
        self.old_handle: tuple[File, object] | None = None
        self.must: set[bytes] = set()
        self.noticed: set[bytes] = set()
        self.source = self.partition = None
        self._start()

    def teardown(self) -> None:
        if hasattr(self, "source") and self.source:
            self._settle(20)
            self._check()
            self.source.close()
            self._close_old()
            self.patches.close()
            shutil.rmtree(self.directory)

    # What happens to the files

    def _lines(self, count: int) -> list[bytes]:
        made = []
        for _ in range(count):
            self.number += 1
            made.append(b"%06d %s\n" % (self.number, b"x" * random.randrange(60)))
        return made

    def _append(self, file: File, count: int, handle: object = None) -> None:
        lines = self._lines(count)
        file.lines += lines
        if handle:
            handle.write(b"".join(lines))
            handle.flush()
        else:
            pack = PACKED.get(file.path.suffix, bytes)
            with file.path.open("ab") as out:
                out.write(pack(b"".join(lines)))

    @rule(count=st.integers(1, 120))
    def write(self, count: int) -> None:
        if not self.current:
            self.current = File(self.live)
        self._append(self.current, count)

    @rule(count=st.integers(1, 20))
    @precondition(lambda self: self.old_handle)
    def write_late(self, count: int) -> None:
        file, handle = self.old_handle
        self._append(file, count, handle)

    def _close_old(self) -> None:
        if self.old_handle:
            self.old_handle[1].close()
            self.old_handle = None

    def _shift(self) -> None:
        """Make room for app.log.1, as logrotate does."""
        for number in sorted(self.rotated, reverse=True):
            file = self.rotated.pop(number)
            suffix = file.path.suffix if file.path.suffix in PACKED else ""
            path = self.live.with_name(f"app.log.{number + 1}{suffix}")
            file.path.rename(path)
            file.path = path
            self.rotated[number + 1] = file

    @rule(keep_writing=st.booleans())
    @precondition(lambda self: self.current)
    def rename(self, keep_writing: bool) -> None:
        self._close_old()
        self._shift()
        if keep_writing:
            self.old_handle = (self.current, self.live.open("ab"))
        path = self.live.with_name("app.log.1")
        self.live.rename(path)
        self.current.path = path
        self.rotated[1] = self.current
        self.current = None

    @rule(looks=st.lists(st.sampled_from(["peek", "read", "write"]), max_size=3))
    @precondition(lambda self: self.current)
    def copy_and_truncate(self, looks: list[str]) -> None:
        self._shift()
        path = self.live.with_name("app.log.1")
        shutil.copyfile(self.live, path)
        copy = File(path)
        copy.lines = list(self.current.lines)
        copy.met = self.current.met
        copy.noticed = self.current.noticed
        for step in looks:
            if step == "write":
                self._append(self.current, 3)
            elif step == "peek":
                self.peek()
            elif self.clock.now - self.slept < 1000:
                self._collect()
        os.truncate(self.live, 0)
        if copy.size < 1024:  # too short to be known again, if it is killed before the next look
            self.peek()
        gone = self.current.lines[len(copy.lines) :]
        self._legally_gone(gone)
        self.rotated[1] = copy
        self.current.lines = []
        self.current.noticed = 0
        self.current.met = False

    @rule()
    @precondition(lambda self: self.current and self.current.lines)
    def truncate(self) -> None:
        os.truncate(self.live, 0)
        self._legally_gone(self.current.lines)
        self.current = File(self.live)

    @rule(count=st.integers(1, 300))
    @precondition(lambda self: self.current and self.current.lines)
    def truncate_and_regrow(self, count: int) -> None:
        self.truncate()
        self._append(self.current, count)

    @rule()
    @precondition(lambda self: self.current)
    def delete(self) -> None:
        self.live.unlink()
        self._legally_gone(self.current.lines)
        self.current = None

    @rule()
    @precondition(lambda self: self.rotated)
    def delete_oldest(self) -> None:
        number = max(self.rotated)
        file = self.rotated.pop(number)
        if self.old_handle and self.old_handle[0] is file:
            self._close_old()
        file.path.unlink()
        self._legally_gone(file.lines)

    @rule(
        look=st.booleans(),
        suffix=st.sampled_from(sorted(PACKED)),
        cuts=st.lists(st.floats(0, 1), max_size=2),
    )
    @precondition(lambda self: self.rotated)
    def compress(self, look: bool, suffix: str, cuts: list[float]) -> None:
        """In one or several members, and maybe seen when only the first part is written."""
        number = random.choice(sorted(self.rotated))
        file = self.rotated[number]
        if file.path.suffix in PACKED or not file.lines:
            return
        if self.old_handle and self.old_handle[0] is file:
            self._close_old()
        path = file.path.with_name(file.path.name + suffix)
        data = file.path.read_bytes()
        ends = [0, *sorted(int(cut * len(data)) for cut in cuts), len(data)]
        packed = b"".join(PACKED[suffix](data[a:b]) for a, b in itertools.pairwise(ends))
        with path.open("wb") as out:
            out.write(packed[: len(packed) // 2])
            out.flush()
            if look:
                self.peek()
            out.write(packed[len(packed) // 2 :])
        if look:
            self.peek()
        file.path.unlink()
        file.path = path

    @rule(count=st.integers(1, 20))
    @precondition(lambda self: any(f.path.suffix in PACKED for f in self.rotated.values()))
    def append_to_compressed(self, count: int) -> None:
        """As `gzip < app.log.2 >> app.log.3.gz` does."""
        packed = [file for file in self.rotated.values() if file.path.suffix in PACKED]
        self._append(random.choice(packed), count)

    def _legally_gone(self, lines: Sequence[bytes]) -> None:
        """These lines are destroyed: what the source has not noticed yet nobody can ask for."""
        self.must.difference_update(lines)

    # What the source does

    def _start(self) -> None:
        self.slept = self.clock.now
        self.source = FileSource([self.pattern], self.store, LIMITS)
        self.partition = self.source.build("tail", 0, 1)

    def _collect(self) -> None:
        while batches := self.partition.next_batch():
            for batch in batches:
                self.store.write(batch)
                batch.acknowledge()

    def _files(self) -> list[File]:
        return [file for file in (self.current, *self.rotated.values()) if file]

    @rule()
    def peek(self) -> None:
        """Names and sizes are looked at; nothing is due, unless there is enough for a batch."""
        self.source._catalog._roster.look_soon()
        self._collect()
        self._note_meeting()

    def _note_meeting(self) -> None:
        for file in self._files():
            if file.lines and (file.path == self.live or self.covered):
                file.met = True

    @rule(seconds=st.sampled_from([1.1, 3.0, 8.0, 20.0]))
    def settle(self, seconds: float) -> None:
        self._settle(seconds)
        self._check()

    def _settle(self, seconds: float) -> None:
        self._note_meeting()
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.now += 0.55
            self.source._catalog._roster.look_soon()
            self._collect()
        if seconds > roster.GRACE_SECONDS:
            for file in self._files():
                if file.met:
                    self.must.update(file.lines)

    @rule(killed=st.booleans())
    def restart(self, killed: bool) -> None:
        if killed:
            self.clock.now += 1.1
            self.source._catalog._roster.look_soon()
            for batch in self.partition.next_batch():
                if not batch.in_doubt:
                    self.store.write(batch, share=random.choice([0.0, 0.5, 0.99]))
        self.source.close()
        stored = set(self.store.lines.values())
        for file in self._files():
            file.met = not stored.isdisjoint(file.lines)  # what is not in the ledger is forgotten
        self._start()
        self._note_meeting()

    def _check(self) -> None:
        counts: dict[bytes, int] = {}
        for line in self.store.lines.values():
            counts[line] = counts.get(line, 0) + 1
        twice = sorted(line[:6] for line, count in counts.items() if count > 1)
        assert not twice, f"stored twice: {twice[:5]} ({len(twice)})"
        missing = sorted(line[:6] for line in self.must - counts.keys())
        assert not missing, f"missing: {missing[:5]} ({len(missing)})"
        broken = [line for line in counts if not re.fullmatch(rb"\d{6} x*\n", line)]
        assert not broken, f"not a whole line: {broken[:3]}"


def test_every_line_that_could_be_read_is_stored_once_whatever_rotation_does(soak):
    run_state_machine_as_test(
        Rotation,
        settings=settings(
            max_examples=3000 if soak else 30,
            stateful_step_count=50 if soak else 30,
            deadline=None,
            print_blob=True,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(f"{Rotation.steps} steps")  # with -s
    assert Rotation.steps > (20_000 if soak else 300)
