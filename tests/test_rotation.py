"""Rotation in all its forms, at random: a model of what could be read, and the real source."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
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

from connectors.batch import BlockId, Taken
from connectors.sources import catalog, file_list
from connectors.sources.evidence import REACH
from connectors.sources.files import FileSource
from connectors.sources.tailed_file import Limits
from tests.tailing import Memory

LIMITS = Limits(lines=1000, bytes=4096, seconds=1.0)
NOBODY = 65534
PADDING = 16 * 1024
PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".zst": zstd.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
}


@contextlib.contextmanager
def unprivileged():
    """As anybody else: root has rights in every directory."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


class Clock:
    """Time as the source sees it, so that minutes pass in no time."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    time = monotonic
    thread_time = monotonic


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


class Sight:
    """What is seen of writers: the one that goes on with a rotated file, and of others perhaps."""

    def __init__(self, machine: Rotation) -> None:
        self.machine = machine

    def path(self, key: tuple[int, int], others: object, now: float) -> str | None:
        late = self.machine.old_handle
        if late and (found := os.fstat(late[1])) and (found.st_dev, found.st_ino) == key:
            return f"/proc/self/fd/{late[1]}"
        return None

    def write(self, key: tuple[int, int], others: object, now: float) -> bool | None:
        return True if self.path(key, others, now) else self.machine.unseen


class Store(Memory):
    """A memory that asserts that no bytes come twice, and that can be killed while it writes."""

    def write(self, batch: Taken, share: float = 1.0) -> None:
        """Store a batch, or a share of its lines, as if killed then."""
        if not batch.in_doubt:
            self.start_at(batch.spans)
        at = 0
        for span in batch.spans:
            length = span.end - span.start
            offset = span.start
            for line in batch.data[at : at + length].splitlines(keepends=True):
                offset += len(line) - len(line := line.lstrip(b"\0"))  # behind filler
                identity = (span.stream.id, offset)
                offset += len(line)
                if line in (b"", b"\n"):
                    continue
                if random.random() >= share:  # seeded by hypothesis
                    continue
                if batch.in_doubt and identity in self.lines:
                    assert self.lines[identity] == line, "a block is repeated as other bytes"
                    continue
                assert identity not in self.lines, "the same bytes twice"
                self.lines[identity] = line
            at += length
        if share < 1:
            self.in_doubt[BlockId(len(self.history), 1)] = batch.spans
        elif batch.in_doubt and batch.is_whole:
            del self.in_doubt[batch.in_doubt]


class File:
    """A file as the model knows it: its lines, and whether the source has met it."""

    def __init__(self, path: Path) -> None:
        self.path: Path | None = path
        self.lines: list[bytes] = []
        self.met = False
        self.noticed = 0
        self.size = 0  # where it is written to
        self.half = b""  # of a line, that is still to be written

    @property
    def is_compressed(self) -> bool:
        return bool(self.path and self.path.suffix in PACKED)


class Rotation(RuleBasedStateMachine):
    """Writes, rotates, restarts; every line that could be read is stored, each of them once."""

    steps = 0

    @invariant()
    def count(self) -> None:
        Rotation.steps += 1

    @initialize(covered=st.booleans(), unseen=st.sampled_from([None, False]))
    def begin(self, covered: bool, unseen: bool | None) -> None:
        self.root = Path(tempfile.mkdtemp())
        self.root.chmod(0o755)
        self.directory = self.root / "logs"
        self.directory.mkdir()
        self.unseen = unseen
        self.is_locked = False
        self.damaged: dict[Path, list[bytes]] = {}
        self.clock = Clock()
        self.patches = contextlib.ExitStack()
        for module in (catalog, file_list):
            self.patches.enter_context(patch.object(module, "time", self.clock))
        self.patches.enter_context(patch.object(file_list, "Watcher", NoEvents))
        self.patches.enter_context(patch.object(file_list, "Writers", lambda: Sight(self)))
        self.stderr = self.patches.enter_context(contextlib.redirect_stderr(io.StringIO()))
        self.live = self.directory / "app.log"
        self.pattern = str(self.live) + ("*" if covered else "")
        self.covered = covered
        self.store = Store()
        self.number = 0
        self.current: File | None = None
        self.rotated: dict[int, File] = {}
        self.gone: list[File] = []
        self.old_handle: tuple[File, int] | None = None
        self.must: set[bytes] = set()
        self.noticed: set[bytes] = set()
        self.alike: list[bytes] = []
        self.source = self.partition = None
        self._start()

    def teardown(self) -> None:
        if hasattr(self, "source") and self.source:
            if self.is_locked:
                self.lock_or_unlock()
            self._close_old()
            self._settle(20)
            self._check()
            self.source.close()
            self.patches.close()
            shutil.rmtree(self.root)

    # What happens to the files

    def _lines(self, count: int) -> list[bytes]:
        made = []
        for _ in range(count):
            self.number += 1
            made.append(b"%06d %s\n" % (self.number, b"x" * random.randrange(60)))
        return made

    def _append(self, file: File, count: int, handle: int | None = None) -> None:
        """Write lines, the first of which may have been begun."""
        lines = self._lines(count)
        file.lines += lines
        self._put(file, file.half + b"".join(lines), handle)
        file.half = b""

    def _put(self, file: File, data: bytes, handle: int | None = None) -> None:
        if file.is_compressed:
            data = PACKED[file.path.suffix](data)
            file.size = file.path.stat().st_size
        out = handle or os.open(file.path, os.O_WRONLY | os.O_CREAT, 0o644)
        file.size += os.pwrite(out, data, file.size)
        if out != handle:
            os.close(out)

    @rule(count=st.integers(1, 120))
    def write(self, count: int) -> None:
        if not self.current:
            self.current = File(self.live)
        self._append(self.current, count)

    @rule()
    @precondition(lambda self: self.current and self.current.lines)
    def preallocate(self) -> None:
        os.truncate(self.live, self.current.size + PADDING)

    @rule()
    @precondition(lambda self: self.current and self.current.lines)
    def cut_to_its_size(self) -> None:
        os.truncate(self.live, self.current.size)

    @rule(symbolic=st.booleans())
    @precondition(lambda self: self.current)
    def link(self, symbolic: bool) -> None:
        """Another name, which is covered if the rotated ones are."""
        other = self.live.with_name("app.log.link")
        other.unlink(missing_ok=True)
        (os.symlink if symbolic else os.link)(self.live, other)

    @rule()
    @precondition(lambda self: not self.damaged)
    def add_damaged(self) -> None:
        path = self.live.with_name(f"app.log.damaged{random.choice(list(PACKED))}")
        lines = self._lines(50)
        path.write_bytes(PACKED[path.suffix](b"".join(lines))[:-60])
        self.damaged[path] = lines

    @rule()
    def lock_or_unlock(self) -> None:
        """Take the rights to the directory away, or give them back."""
        self.is_locked = not self.is_locked
        self.directory.chmod(0 if self.is_locked else 0o755)

    @rule(count=st.integers(1, 20))
    @precondition(lambda self: self.old_handle)
    def write_late(self, count: int) -> None:
        file, handle = self.old_handle
        self._append(file, count, handle)

    @rule()
    @precondition(lambda self: self.old_handle and not self.old_handle[0].half)
    def write_half_a_line_late(self) -> None:
        file, handle = self.old_handle
        (line,) = self._lines(1)
        middle = random.randrange(1, len(line))
        self._put(file, line[:middle], handle)
        file.lines.append(line)
        file.half = line[middle:]

    def _keep_writing(self) -> None:
        self._close_old()
        self.old_handle = (self.current, os.open(self.live, os.O_WRONLY))

    def _close_old(self) -> None:
        """A writer ends its last line before it goes."""
        if self.old_handle:
            file, handle = self.old_handle
            self._put(file, file.half, handle)
            file.half = b""
            os.close(handle)
            self.old_handle = None

    def _shift(self) -> None:
        """Make room for app.log.1, as logrotate does."""
        for number in sorted(self.rotated, reverse=True):
            file = self.rotated.pop(number)
            suffix = file.path.suffix if file.is_compressed else ""
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
            self._keep_writing()
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
        copy.size = self.current.size
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
        if copy.met and not self.covered and not path.read_bytes()[:REACH].strip(b"\0"):
            # Holes are all alike: what was not read before is a gap, which is reported.
            copy.met &= not set(self.store.lines.values()).isdisjoint(copy.lines)
            self.alike += () if copy.met else copy.lines
        gone = self.current.lines[len(copy.lines) :]
        self._legally_gone(gone)
        self.rotated[1] = copy
        self.current = File(self.live)

    @rule()
    @precondition(lambda self: self.current and self.current.lines)
    def truncate(self) -> None:
        os.truncate(self.live, 0)
        self._legally_gone(self.current.lines)
        self.current = File(self.live)

    @rule(count=st.integers(1, 30))
    @precondition(lambda self: self.current and self.current.lines)
    def truncate_below_a_writer(self, count: int) -> None:
        """It goes on where it was: the file begins with a hole."""
        size = self.current.size
        self.truncate()
        self.current.size = size
        self._append(self.current, count)

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

    @rule(away=st.booleans())
    @precondition(lambda self: self.current and self.current.lines and not self.is_locked)
    def take_away_from_a_writer(self, away: bool) -> None:
        """What is known to be open is read as long as it is written to, until the next start."""
        self.peek()
        self._keep_writing()
        if away:
            (self.root / "old").mkdir(exist_ok=True)
            self.live.rename(self.root / "old" / f"{self.number}")
        else:
            self.live.unlink()
        self.gone.append(self.current)
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
        if file.is_compressed or not file.lines or file.path.stat().st_nlink > 1:
            return  # what is compressed, and there as it was, is there twice
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
    @precondition(lambda self: any(file.is_compressed for file in self.rotated.values()))
    def append_to_compressed(self, count: int) -> None:
        """As `gzip < app.log.2 >> app.log.3.gz` does."""
        packed = [file for file in self.rotated.values() if file.is_compressed]
        self._append(random.choice(packed), count)

    def _legally_gone(self, lines: Sequence[bytes]) -> None:
        """These lines are destroyed: what the source has not noticed yet nobody can ask for."""
        self.must.difference_update(lines)

    # What the source does

    def _start(self) -> None:
        self.slept = self.clock.now
        with unprivileged():
            self.source = FileSource([self.pattern], self.store, LIMITS, linger=8.0)
        self.partition = self.source.build("tail", 0, 1)

    def _collect(self) -> None:
        while batches := self._next():
            for batch in batches:
                self.store.write(batch)
                batch.acknowledge()

    def _next(self) -> list[Taken]:
        with unprivileged():
            return self.partition.next_batch()

    def _files(self) -> list[File]:
        return [file for file in (self.current, *self.rotated.values(), *self.gone) if file]

    @rule()
    def peek(self) -> None:
        """Names and sizes are looked at; nothing is due, unless there is enough for a batch."""
        self.source._catalog._files.poll_soon()
        self._collect()
        self._note_meeting()

    def _note_meeting(self) -> None:
        for file in self._files():
            if file.lines and (file.path == self.live or self.covered) and not self.is_locked:
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
            self.source._catalog._files.poll_soon()
            self._collect()
        if seconds > file_list.GRACE_SECONDS and not self.is_locked:
            for file in self._files():
                if file.met:
                    self.must.update(file.lines[:-1] if file.half else file.lines)
            if not set(self.alike) <= set(self.store.lines.values()):
                assert "before they could be read" in "".join(self.source.gaps())
            for path, lines in self.damaged.items() if self.covered else ():
                if not set(lines) <= set(self.store.lines.values()):
                    assert str(path) in "".join(self.source.status().problems)

    @rule(killed=st.booleans())
    def restart(self, killed: bool) -> None:
        if killed:
            self.clock.now += 1.1
            self.source._catalog._files.poll_soon()
            for batch in self._next():
                if not batch.in_doubt:
                    self.store.write(batch, share=random.choice([0.0, 0.5, 0.99]))
        self.source.close()
        self.alike.clear()  # the next one has never seen them
        for file in self.gone:
            self._legally_gone(file.lines)
        self.gone = []
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
