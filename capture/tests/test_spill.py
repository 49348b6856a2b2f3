"""What cannot go where it belongs waits in files, which outlive the process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from logwax_capture.spill import Spill

WRITER = """
import os, sys
from pathlib import Path
from logwax_capture.spill import Spill
spill = Spill(Path(sys.argv[1]), 1 << 20)
for number in range(5):
    spill.append([{"entry_id": str(number)}])
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def spill(tmp_path: Path) -> Spill:
    return Spill(tmp_path / "spill", 1 << 20)


def ids(spill: Spill, most: int = 100) -> list[list[str]]:
    return [[entry["entry_id"] for entry in batch] for batch in spill.take(most)]


def entries(*numbers: int) -> list[dict[str, str]]:
    return [{"entry_id": str(number)} for number in numbers]


def files(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "spill").iterdir())


def test_entries_come_back_once_and_in_order(spill: Spill, tmp_path: Path) -> None:
    spill.append(entries(1, 2, 3))
    spill.append(entries(4, 5))
    assert ids(spill, most=2) == [["1", "2"], ["3", "4"], ["5"]]
    assert ids(spill) == []
    assert files(tmp_path) == []


def test_what_a_killed_process_left_is_taken_up(spill: Spill, tmp_path: Path) -> None:
    package = Path(__file__).parent.parent
    arguments = [sys.executable, "-c", WRITER, str(tmp_path / "spill")]
    assert subprocess.run(arguments, cwd=package).returncode == -9
    assert ids(spill) == [["0", "1", "2", "3", "4"]]


def test_what_a_running_process_has_is_left_to_it(spill: Spill, tmp_path: Path) -> None:
    other = Spill(tmp_path / "spill", 1 << 20)
    other.append(entries(1))
    assert ids(spill) == []
    assert ids(other) == [["1"]]


def test_entries_of_which_nobody_said_that_they_are_done_stay(spill: Spill, tmp_path: Path) -> None:
    spill.append(entries(1, 2))
    next(spill.take(1))  # and no more: the process dies here, and its lock with it
    assert ids(Spill(tmp_path / "spill", 1 << 20)) == [["1", "2"]]


def test_a_full_spill_takes_no_more(spill: Spill, tmp_path: Path) -> None:
    small = Spill(tmp_path / "spill", 40)
    assert small.append(entries(1))
    assert not small.append([{"entry_id": "2" * 40}])
    assert ids(small) == [["1"]]


def test_half_a_line_is_counted(spill: Spill, tmp_path: Path) -> None:
    (tmp_path / "spill").mkdir()
    (tmp_path / "spill" / "1-a.spill").write_text('{"entry_id": "1"}\n{"entry_i')
    assert ids(spill) == [["1"]]
    assert spill.damaged == 1


def test_only_the_owner_can_read_it(spill: Spill, tmp_path: Path) -> None:
    spill.append(entries(1))
    (file,) = files(tmp_path)
    assert [file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777] == [0o600, 0o700]


def test_a_forked_process_writes_a_file_of_its_own(spill: Spill, tmp_path: Path) -> None:
    spill.append(entries(1))
    child = os.fork()
    if not child:
        spill.forget()
        spill.append(entries(2))
        os._exit(0)
    os.waitpid(child, 0)
    assert len(files(tmp_path)) == 2
    assert ids(spill) == [["1"], ["2"]]
