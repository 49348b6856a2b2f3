"""The `logwax` command, each time as a process of its own in an empty directory.

`up` is run here with a stand-in for the pipeline, to see what it does with one that fails, hangs or
is slow; tests/test_start.py runs the real one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from cli.health import Health
from cli.progress import Progress
from tests.conftest import wait_for

PROJECT = Path(__file__).parent.parent
DEADLINE = 30.0


def environment(**variables: object) -> dict[str, str]:
    """What a process needs, and the given settings: none of this machine's own."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    given = {name: str(value) for name, value in variables.items()}
    nowhere = "/nonexistent"  # what somebody has run here is no matter
    ours = {"PYTHONPATH": str(PROJECT), "API_PORT": "0", "XDG_STATE_HOME": nowhere}
    return kept | ours | given


def logwax(command: str, directory: Path, **variables: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli", *command.split()],
        cwd=directory,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data directory as a pipeline leaves it."""
    path = tmp_path / "data"
    (path / "clickhouse").mkdir(parents=True)
    (path / "clickhouse" / "rows").write_text("rows")
    (path / "claims").mkdir()
    (path / "embedded.lock").write_text("process 42")
    return path


@pytest.fixture
def earlier_demo(data_dir: Path) -> Path:
    """The same of `logwax up` of an earlier version."""
    (data_dir / "logs").mkdir()
    (data_dir / "logs" / "api_requests.log").touch()
    return data_dir


# --- check -------------------------------------------------------------------------------------


def row(output: str, name: str) -> list[str]:
    return next(line.split() for line in output.splitlines() if line.startswith(name + " "))


def test_check_of_the_defaults_is_all_well(tmp_path: Path) -> None:
    result = logwax("check", tmp_path)
    assert result.returncode == 0
    assert "All is well." in result.stdout


def test_check_shows_every_setting(tmp_path: Path) -> None:
    from settings import Settings

    output = logwax("check", tmp_path).stdout
    shown = [line.split()[0] for line in output.splitlines() if line]
    assert {name.upper() for name in Settings.model_fields} <= set(shown)


def test_check_shows_values_and_where_they_come_from(tmp_path: Path) -> None:
    (tmp_path / ".env.local").write_text("RETENTION_DAYS=7\nLOG_BATCH_SIZE=5\n")
    output = logwax("check", tmp_path, LOG_BATCH_SIZE=6, LOG_PATHS="[ab]*.log").stdout
    assert row(output, "STREAM_MAX_SIZE") == ["STREAM_MAX_SIZE", "100000", "default"]
    assert row(output, "RETENTION_DAYS") == ["RETENTION_DAYS", "7", ".env.local"]
    assert row(output, "LOG_BATCH_SIZE") == ["LOG_BATCH_SIZE", "6", "environment"]
    assert row(output, "LOG_PATHS") == ["LOG_PATHS", "[ab]*.log", "environment"]


def test_check_names_the_line_that_cannot_be_read_and_shows_what_the_others_say(
    tmp_path: Path,
) -> None:
    (tmp_path / ".env.local").write_text("STORE=null\nLOG_FORMAT: json\nSTORES=console\n")
    done = logwax("check", tmp_path)
    assert done.returncode == 1
    assert row(done.stdout, "STORE") == ["STORE", "null", ".env.local"]
    assert "Error: .env.local, line 2, cannot be read: " in done.stdout
    assert "Warning: STORES is no setting and is ignored: is STORE meant?" in done.stdout


def test_check_reports_every_error_at_once(tmp_path: Path, taken_port: int) -> None:
    (tmp_path / "file").touch()
    result = logwax(
        "check",
        tmp_path,
        LOG_FORMAT="morse",
        STREAM_MAX_SIZE=-1,
        DATA_DIR="file/data",
        API_PORT=taken_port,
    )
    errors = [line for line in result.stdout.splitlines() if line.startswith("Error: ")]
    assert result.returncode == 1
    assert [error.removeprefix("Error: ").partition("=")[0] for error in errors] == [
        "LOG_FORMAT",
        "STREAM_MAX_SIZE",
        "DATA_DIR",
        "API_PORT",
    ]


def test_a_port_is_not_wanted_without_following(tmp_path: Path, taken_port: int) -> None:
    assert logwax("check", tmp_path, API_PORT=taken_port, FOLLOW="false").returncode == 0


def test_an_address_of_another_machine_is_an_error(tmp_path: Path) -> None:
    result = logwax("check", tmp_path, API_HOST="192.0.2.1", API_PORT=8000)
    assert result.returncode == 1
    assert "Error: API_HOST=192.0.2.1" in result.stdout


def test_a_glob_that_matches_nothing_yet_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "here.log").touch()
    result = logwax("check", tmp_path, LOG_PATHS="here*.log, later/**/*.log")
    warnings = [line for line in result.stdout.splitlines() if line.startswith("Warning: ")]
    assert result.returncode == 0
    assert len(warnings) == 1
    assert "later/**/*.log matches no file yet" in warnings[0]


def test_check_leaves_nothing_behind(tmp_path: Path) -> None:
    logwax("check", tmp_path)
    assert list(tmp_path.iterdir()) == []


# --- up ----------------------------------------------------------------------------------------

PIPELINE = """
import os, signal, sys, time
from pathlib import Path

asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
{start}
Path("pipeline.started").write_text(os.environ.get("BYTEWAX_WORKERS_PER_PROCESS", ""))
while not asked:
    time.sleep(0.01)
{drain}
Path("pipeline.drained").touch()
"""


def stand_in(directory: Path, start: str = "", drain: str = "") -> str:
    """Put a `bytewax.run` of our own before the real one; return the PYTHONPATH for it."""
    package = directory / "stand_in" / "bytewax"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "run.py").write_text(PIPELINE.format(start=start, drain=drain))
    return f"{package.parent}{os.pathsep}{PROJECT}"


class Up:
    """A running `logwax up`."""

    def __init__(
        self, directory: Path, pythonpath: str, *options: str, **variables: object
    ) -> None:
        self._directory = directory
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cli", "up", *options],
            cwd=directory,
            env=environment(PYTHONPATH=pythonpath, **variables),
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for_lines(self) -> None:
        data = self._directory / "data"

        def generated() -> bool:
            with contextlib.suppress(FileNotFoundError):  # what is there may be wiped meanwhile
                return any(log.stat().st_size for log in data.rglob("api_requests.log"))
            return False

        wait_for(generated, "generated lines")
        wait_for((self._directory / "pipeline.started").exists, "the pipeline")

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=DEADLINE)
        return self.process.returncode, errors


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    started: list[Up] = []

    def start(pythonpath: str, *options: str, **variables: object) -> Up:
        started.append(Up(tmp_path, pythonpath, *options, **variables))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            for process in (*each.children(), each.process):
                process.kill()
        each.process.communicate()


def test_up_says_every_wrong_setting_and_starts_nothing(tmp_path: Path) -> None:
    result = logwax("up", tmp_path, LOG_FORMAT="morse", STREAM_MAX_SIZE=-1)
    assert result.returncode == 2
    assert [line.partition("=")[0] for line in result.stderr.splitlines()] == [
        "LOG_FORMAT",
        "STREAM_MAX_SIZE",
    ]
    assert list(tmp_path.iterdir()) == []


def test_up_says_who_has_the_store(tmp_path: Path, earlier_demo: Path) -> None:
    with (earlier_demo / "embedded.lock").open("w") as lock:
        lock.write('{"pid": 42, "api": "http://127.0.0.1:8000"}')
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = logwax("up", tmp_path)
    assert result.returncode == 1
    assert "in use by process 42, its API is at http://127.0.0.1:8000" in result.stderr


def test_up_does_not_start_on_a_taken_port(tmp_path: Path, taken_port: int) -> None:
    result = logwax("up", tmp_path, API_PORT=taken_port)
    assert result.returncode == 1
    assert f"API_PORT={taken_port}" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_leaves_nothing_running(
    tmp_path: Path, up: Callable[..., Up], number: signal.Signals
) -> None:
    running = up(stand_in(tmp_path))
    running.wait_for_lines()
    children = running.children()
    running.process.send_signal(number)
    assert running.end() == (0, "")
    assert (tmp_path / "pipeline.drained").exists()
    assert len(children) == 2
    assert not any(child.is_running() for child in children)


def test_a_second_signal_does_not_cut_the_draining_short(
    tmp_path: Path, up: Callable[..., Up]
) -> None:
    drain = 'Path("draining").touch()\nwhile not Path("go").exists(): time.sleep(0.01)'
    running = up(stand_in(tmp_path, drain=drain))
    running.wait_for_lines()
    running.process.terminate()
    wait_for((tmp_path / "draining").exists, "the pipeline to drain")
    running.process.terminate()
    (tmp_path / "go").touch()
    assert running.end() == (0, "")
    assert (tmp_path / "pipeline.drained").exists()


def test_a_pipeline_that_does_not_stop_is_killed(tmp_path: Path, up: Callable[..., Up]) -> None:
    running = up(stand_in(tmp_path, drain="while True: time.sleep(1)"))
    running.wait_for_lines()
    children = running.children()
    running.process.terminate()
    code, errors = running.end()
    assert code == 1
    assert "did not stop" in errors
    assert not any(child.is_running() for child in children)


def test_a_pipeline_that_ends_by_itself_ends_up_with_its_exit_code(
    tmp_path: Path, up: Callable[..., Up]
) -> None:
    running = up(
        stand_in(tmp_path, start='print("The store burns.", file=sys.stderr); sys.exit(7)')
    )
    code, errors = running.end()
    assert code == 7
    assert "The store burns." in errors
    assert "The pipeline ended: exit code 7." in errors


def test_a_generator_that_dies_ends_up_and_drains_the_pipeline(
    tmp_path: Path, up: Callable[..., Up]
) -> None:
    running = up(stand_in(tmp_path))
    running.wait_for_lines()
    next(child for child in running.children() if "log_generator" in child.cmdline()).kill()
    code, errors = running.end()
    assert code == 1
    assert "The log generator ended: signal 9." in errors
    assert (tmp_path / "pipeline.drained").exists()


def test_a_generator_that_has_written_all_ends_nothing(
    tmp_path: Path, up: Callable[..., Up]
) -> None:
    running = up(stand_in(tmp_path), MAX_LOGS_TO_GENERATE=1)
    running.wait_for_lines()
    wait_for(lambda: len(running.children()) == 1, "the generator to end")
    running.process.terminate()
    assert running.end() == (0, "")


def test_children_end_with_a_killed_supervisor(tmp_path: Path, up: Callable[..., Up]) -> None:
    running = up(stand_in(tmp_path))
    running.wait_for_lines()
    children = running.children()
    running.process.kill()
    assert psutil.wait_procs(children, timeout=DEADLINE)[1] == []
    assert (tmp_path / "pipeline.drained").exists()


def test_variables_of_bytewax_may_stand_in_env_local(tmp_path: Path, up: Callable[..., Up]) -> None:
    (tmp_path / ".env.local").write_text("BYTEWAX_WORKERS_PER_PROCESS=3\n")
    running = up(stand_in(tmp_path))
    running.wait_for_lines()
    assert (tmp_path / "pipeline.started").read_text() == "3"


# --- fresh -------------------------------------------------------------------------------------


def wipe(
    directory: Path, data_dir: str | Path = "data", **variables: object
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.wipe"],
        cwd=directory,
        env=environment(DATA_DIR=data_dir, **variables),
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )


def test_a_fresh_start_has_nothing_of_the_last_one(
    tmp_path: Path, earlier_demo: Path, up: Callable[..., Up]
) -> None:
    running = up(stand_in(tmp_path), "--fresh")
    running.wait_for_lines()
    assert {path.name for path in earlier_demo.iterdir()} == {"logs"}


def test_a_start_goes_on_where_an_earlier_version_left_off(
    tmp_path: Path, earlier_demo: Path, up: Callable[..., Up]
) -> None:
    running = up(stand_in(tmp_path))
    running.wait_for_lines()
    assert (earlier_demo / "clickhouse" / "rows").exists()
    assert (earlier_demo / "logs" / "api_requests.log").stat().st_size
    assert not (earlier_demo / "demo").exists()


def test_the_demo_stays_away_from_a_store_of_other_lines(
    tmp_path: Path, data_dir: Path, up: Callable[..., Up]
) -> None:
    running = up(stand_in(tmp_path), "--fresh")
    running.wait_for_lines()
    assert (data_dir / "clickhouse" / "rows").exists()
    assert {path.name for path in (data_dir / "demo").iterdir()} == {"logs", "run.json"}


def test_wiping_a_link_empties_what_it_points_to(tmp_path: Path, data_dir: Path) -> None:
    (tmp_path / "link").symlink_to(data_dir)
    assert wipe(tmp_path, "link").returncode == 0
    assert list(data_dir.iterdir()) == []


def test_wiping_follows_no_link_inside(tmp_path: Path, data_dir: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").touch()
    (data_dir / "logs").symlink_to(tmp_path / "elsewhere")
    assert wipe(tmp_path).returncode == 0
    assert (tmp_path / "elsewhere" / "kept").exists()
    assert list(data_dir.iterdir()) == []


def test_wiping_what_is_not_there_is_fine(tmp_path: Path) -> None:
    assert wipe(tmp_path).returncode == 0


def test_data_in_use_is_not_wiped(tmp_path: Path, data_dir: Path) -> None:
    with (data_dir / "embedded.lock").open("w") as lock:
        lock.write('{"pid": 42, "api": "http://127.0.0.1:8000"}')
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = wipe(tmp_path)
    assert result.returncode == 1
    assert "process 42, its API is at http://127.0.0.1:8000" in result.stderr
    assert (data_dir / "clickhouse" / "rows").exists()


@pytest.mark.parametrize("place", [".", "home", "home/..", "other"])
def test_only_a_data_directory_is_wiped(tmp_path: Path, place: str) -> None:
    """Each of these looks like one by what is in it, except `other`."""
    for directory in ("", "home"):
        (tmp_path / directory / "claims").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    before = sorted(tmp_path.rglob("*"))
    result = wipe(tmp_path, place, HOME=tmp_path / "home")
    assert result.returncode == 1
    assert result.stderr.startswith("Nothing is deleted: ")
    assert sorted(tmp_path.rglob("*")) == before


def ends_of_progress(capfd: pytest.CaptureFixture[str], *answers: tuple[int, int]) -> list[str]:
    """The last part of each line, for lines stored and bytes that wait."""
    progress = Progress()
    for stored, lag in answers:
        progress.show(Health("ok", stored, stored, lag, 0.5, ""))
    return [line.rpartition("| ")[2] for line in capfd.readouterr().out.splitlines()]


def test_progress_says_how_much_of_the_past_is_stored(capfd: pytest.CaptureFixture[str]) -> None:
    answers = [(0, 0), (0, 10**9), (5, 25 * 10**7), (9, 300), (12, 10**9)]
    assert ends_of_progress(capfd, *answers) == [
        "lag 0 bytes, 0.5 s",
        "0% of what was there",
        "75% of what was there",
        "lag 300 bytes, 0.5 s",
        "lag 1,000,000,000 bytes, 0.5 s",
    ]


def test_progress_says_nothing_of_the_past_of_a_file_that_only_grows(
    capfd: pytest.CaptureFixture[str],
) -> None:
    ends = ends_of_progress(capfd, (0, 300), (3, 600), (6, 300))
    assert ends == [f"lag {lag} bytes, 0.5 s" for lag in (300, 600, 300)]
