"""A disk or a store that does not answer: it holds up nobody but who asks it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import pytest

from connectors.sources import catalog, handles
from connectors.sources.files import FileSource
from connectors.sources.source import POLL, Source, SourceInput, SourceStatus
from connectors.store import Ledger
from tests.conftest import wait_for
from tests.tailing import SOON, Memory, append

OLD, NEW = b"old\n", b"new\n"
ENOUGH = 30.0  # seconds, for a test that fails


class Hang:
    """Whoever calls this waits until it is over."""

    def __init__(self) -> None:
        self.is_entered = threading.Event()
        self.is_over = threading.Event()

    def __call__(self) -> None:
        self.is_entered.set()
        self.is_over.wait(ENOUGH)


def path_of(what: object) -> str:
    return os.readlink(f"/proc/self/fd/{what}") if isinstance(what, int) else str(what)


@contextmanager
def hanging(monkeypatch: pytest.MonkeyPatch, function: str, path: Path) -> Iterator[Hang]:
    """This function of `os` does not return for this file."""
    real, hang = getattr(os, function), Hang()

    def call(what: object, *others: object, **named: object) -> object:
        if path_of(what) == str(path):
            hang()
        return real(what, *others, **named)

    with monkeypatch.context() as patched:
        patched.setattr(os, function, call)
        try:
            yield hang
        finally:
            hang.is_over.set()


class Workers:
    """Two workers of one source: one that gets stuck, and another one."""

    def __init__(self, pattern: Path, memory: Memory, **options: object) -> None:
        self.memory = memory
        self.source = FileSource([str(pattern)], memory, SOON, **options)  # type: ignore[arg-type]
        self._first, self._second = (self.source.build("tail", number, 2) for number in (0, 1))

    def read(self, path: Path, *, first: bool = False) -> Callable[[], bool]:
        """Whether a worker has got lines of this file now, and stored them."""

        def has_read() -> bool:
            batches = (self._first if first else self._second).next_batch()
            for batch in batches:
                self.memory.record(batch)
                batch.acknowledge()
            return any(s.stream.name == str(path) for b in batches for s in b.spans)

        return has_read

    @contextmanager
    def first_one_stuck(self, hang: Hang) -> Iterator[None]:
        """The first worker asks for batches until it is stuck, and comes back after all."""

        def work() -> None:
            while not hang.is_entered.is_set():
                self.read(Path(), first=True)()

        worker = threading.Thread(target=work)
        worker.start()
        try:
            assert hang.is_entered.wait(ENOUGH)
            yield
            assert worker.is_alive()
        finally:
            hang.is_over.set()
            worker.join(ENOUGH)


@pytest.fixture
def workers(tmp_path, monkeypatch) -> Iterator[Callable[..., Workers]]:
    monkeypatch.setattr(catalog, "SLOW_SECONDS", 0.05)
    made: list[Workers] = []

    def make(memory: Memory | None = None, **options: object) -> Workers:
        made.append(Workers(tmp_path / "*.log", memory or Memory(), **options))
        return made[-1]

    yield make
    for one in made:
        one.source.close()


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("function", ["stat", "open", "pread"])
def test_a_file_that_does_not_answer_holds_up_neither_health_nor_other_files(
    workers, tmp_path, monkeypatch, function, is_known
):
    monkeypatch.setattr(handles, "HANDLES", 1)  # so that files are opened again
    slow, other = tmp_path / "a.log", tmp_path / "b.log"
    two = workers()
    for path in [slow, other] if is_known else [other]:
        path.write_bytes(OLD)
        wait_for(two.read(path), "the first line")
    with hanging(monkeypatch, function, slow) as hang:
        append(slow, NEW)
        with two.first_one_stuck(hang):
            append(other, NEW)
            wait_for(two.read(other), "the next line of the other file")
            assert two.source.status().lag_bytes >= 0
    expected = sorted([OLD, NEW, NEW, *([OLD] * is_known)])
    wait_for(lambda: two.read(slow)() or len(two.memory.lines) == len(expected), "all lines")
    wait_for(lambda: not two.read(slow)(), "nothing more")
    assert sorted(two.memory.lines.values()) == expected


class SlowStore(Memory):
    """Does not say what is known, from now and then on."""

    def __init__(self) -> None:
        super().__init__()
        self.hang: Hang | None = None

    def ledger(self, file_ids: Collection[int] | None = None) -> Ledger:
        if self.hang:
            self.hang()
        return super().ledger(file_ids)


def test_a_store_that_does_not_answer_holds_up_neither_health_nor_other_files(workers, tmp_path):
    known, new = tmp_path / "a.log", tmp_path / "b.log"
    known.write_bytes(OLD)
    two = workers(store := SlowStore(), claims=tmp_path / "claims")
    wait_for(two.read(known), "the first line")
    store.hang = Hang()
    new.write_bytes(NEW)
    with two.first_one_stuck(store.hang):
        append(known, NEW)
        wait_for(two.read(known), "the next line of the known file")
        wait_for(
            lambda: "Reading waits for the store" in "".join(two.source.status().problems),
            "what is waited for",
        )
    store.hang = None
    wait_for(lambda: two.read(new)() or len(store.lines) == 3, "the line of the new file")
    assert two.source.status().problems == ()
    assert sorted(store.lines.values()) == [NEW, NEW, OLD]


def test_a_worker_that_was_held_up_is_due_at_once() -> None:
    """Bytewax adds to a wait what the call took: after an outage it would last as long again."""

    class Slow(Source):
        def collect(self) -> None:
            time.sleep(2 * POLL.total_seconds())

        def due_in(self) -> None:
            """Nothing waits."""

        def exhausted(self) -> bool:
            return False

        def status(self) -> SourceStatus:
            return SourceStatus()

    worker = SourceInput(Slow()).build("tail", 0, 1)
    assert worker.next_batch() == []
    due = worker.next_awake()
    assert due and due < datetime.now(timezone.utc)
