"""What several tests share: waiting with a deadline, running the pipeline, opening its store."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import clickhouse_connect
import httpx
import hypothesis
import pytest
from clickhouse_connect.driver.client import Client

import native
from connectors import saying
from tests import forking

if TYPE_CHECKING:
    from typing_extensions import Self

    from tests.servers.influxd import Influxd
    from tests.tailing import Memory, Tail

hypothesis.settings.register_profile("logwax", deadline=None)  # no timing is asserted
hypothesis.settings.register_profile("few", deadline=None, max_examples=10)
hypothesis.settings.load_profile("logwax")

ROOT = Path(__file__).resolve().parent.parent
DEADLINE = 60.0


def wait_for(
    condition: Callable[[], object],
    what: str = "what was expected",
    deadline: float = DEADLINE,
    pause: float = 0.02,
) -> None:
    """Return when `condition` is true; fail with `what` if it is not in time.

    `pause`: seconds between two looks, more where a look is a process.
    """
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, f"waited {deadline} s for {what}"
        time.sleep(pause)


def pytest_addoption(parser: pytest.Parser) -> None:
    with contextlib.suppress(ValueError):  # the tests of the package for applications have it, too
        parser.addoption("--soak", action="store_true", help="run the long tests at full length")
    parser.addoption(
        "--compiled", type=Path, help="another file in the place of native/compiled.so"
    )


def pytest_configure(config: pytest.Config) -> None:
    if file := config.getoption("--compiled"):
        native.library = ctypes.CDLL(str(file))
    if not config.getoption("--soak"):
        forking.use()


@pytest.fixture
def soak(request: pytest.FixtureRequest) -> bool:
    """Whether the long tests run at full length."""
    return bool(request.config.getoption("--soak"))


@pytest.fixture(autouse=True)
def no_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another test had said is said as for the first time."""
    monkeypatch.setattr(saying, "_repeats", saying._Repeats())


class Pipeline:
    """`python -m bytewax.run flows.main` in a directory of its own, with these settings.

    As a context manager it ends what still runs.
    """

    def __init__(self, directory: Path, port: int) -> None:
        self.directory = directory
        self.port = port
        self.running: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.running and self.running.poll() is None:
            self.running.kill()
            self.running.communicate()

    def environment(self, **settings: object) -> dict[str, str]:
        """This process's environment, less what could be set in it, with these settings."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        return {
            **kept,
            "XDG_STATE_HOME": str(self.directory),  # what somebody has run here is no matter
            "PYTHONPATH": str(ROOT),
            "API_PORT": str(self.port),
            "STREAM_MAX_WAIT_TIME_IN_SECONDS": "0.1",
            **{name: str(value) for name, value in settings.items()},
        }

    def start(
        self, *arguments: str, job: str = "flows.main", **settings: object
    ) -> subprocess.Popen[str]:
        """Start it, or another job; it is ended with the test."""
        self.running = subprocess.Popen(
            [sys.executable, "-m", "bytewax.run", job, *arguments],
            cwd=self.directory,
            env=self.environment(**settings),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        return self.running

    def run(
        self, *arguments: str, deadline: float = DEADLINE, **settings: Any
    ) -> subprocess.CompletedProcess[str]:
        """Read what is there (`FOLLOW=false`), and wait for the end."""
        process = self.start(*arguments, FOLLOW="false", **settings)
        out, err = process.communicate(timeout=deadline)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def stop(self, deadline: float = DEADLINE) -> int:
        """SIGTERM; returns the exit code."""
        assert self.running
        self.running.send_signal(signal.SIGTERM)
        self.running.communicate(timeout=deadline)
        return self.running.returncode

    @contextmanager
    def generator(self, **settings: object) -> Iterator[None]:
        """The log generator beside it, at 50,000 lines a second."""
        generator = subprocess.Popen(
            [sys.executable, "-m", "log_generator"],
            cwd=self.directory,
            env=self.environment(LOG_BATCH_SIZE=500, LOG_INTERVAL_SECONDS=0.01, **settings),
        )
        try:
            yield
        finally:
            generator.terminate()
            generator.wait()

    def get(self, path: str) -> httpx.Response:
        """Ask the API."""
        url = f"http://127.0.0.1:{self.port}{path}"
        return httpx.get(url, timeout=DEADLINE, verify=False)  # no CA to load: 40 ms of CPU time

    def is_healthy(self) -> bool:
        """Whether the API answers, and says so."""
        try:
            return self.get("/health").status_code == 200
        except httpx.TransportError:
            return False

    def wait_until_healthy(self) -> None:
        """Wait until `/health` is green."""
        wait_for(self.is_healthy, "a healthy pipeline")

    def wait_until_stored(self, lines: int) -> None:
        """Wait until so many lines are in the store, dead letters included."""

        def stored() -> bool:
            health = self.get("/health").json()
            return bool(health["rows_stored"] + health["dead_letters"] >= lines)

        wait_for(stored, f"{lines} stored lines")


def find_port() -> int:
    """A port that nobody listens on, and that no connection gets by chance, as those from 32768 on.

    Linux, ip(7), ip_local_port_range.
    """
    while True:
        port = 10_000 + secrets.randbelow(20_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    return find_port()


@pytest.fixture
def influxd(tmp_path: Path) -> Iterator[Influxd]:
    """An InfluxDB server of the test's own (it starts in 0.1 s), with the database `logwax`."""
    from tests.servers.influxd import Influxd

    with Influxd(tmp_path / "influxd") as server:
        server.create()
        yield server


@pytest.fixture(scope="session")
def mongodb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The MongoDB at `MONGODB_TEST_URL`, else a FerretDB for all tests."""
    from tests.servers.ferretdb import Ferretdb

    if url := os.environ.get("MONGODB_TEST_URL"):
        yield url
        return
    server = Ferretdb(tmp_path_factory.mktemp("ferretdb"))
    yield server.url
    server.stop()


@pytest.fixture
def mongodb(mongodb_server: str) -> Iterator[dict[str, object]]:
    """The settings of an empty database of MongoDB, which is dropped with the test."""
    import pymongo

    name = f"logwax_{secrets.token_hex(6)}"
    yield {"store": "mongodb", "mongodb_url": mongodb_server, "mongodb_database": name}
    with pymongo.MongoClient(mongodb_server) as client:
        client.drop_database(name)


@pytest.fixture
def pipeline(tmp_path: Path, free_port: int) -> Iterator[Pipeline]:
    """A pipeline that has not been started yet."""
    with Pipeline(tmp_path, free_port) as made:
        yield made


@pytest.fixture
def open_client(tmp_path: Path) -> Iterator[Callable[[], Client]]:
    """Opens the embedded store of a pipeline that has ended, as anybody can."""
    clients: list[Client] = []

    def open_it() -> Client:
        path = str(tmp_path / "data" / "clickhouse")
        clients.append(clickhouse_connect.get_client(interface="chdb", path=path))
        return clients[-1]

    yield open_it
    for client in clients:
        client.close()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """An embedded engine with just the columns that statistics are made of."""
    client = clickhouse_connect.get_client(interface="chdb", path=str(tmp_path / "clickhouse"))
    client.command(
        "CREATE TABLE logs (timestamp DateTime64(6, 'UTC'), customer_id String, success Bool, "
        "duration Nullable(Float64), status_code UInt16 DEFAULT 200) "
        "ENGINE = MergeTree ORDER BY (customer_id, timestamp)"
    )
    client.command("CREATE TABLE dead_letters (raw String) ENGINE = MergeTree ORDER BY raw")
    yield client
    client.close()


@pytest.fixture
def tail() -> Iterator[Callable[..., Tail]]:
    """Makes file sources that are driven by hand; closes them in the end."""
    from tests.tailing import Tail

    made: list[Tail] = []

    def make(pattern: Path | str, memory: Memory | None = None, **options: object) -> Tail:
        made.append(Tail(pattern, memory, **options))
        return made[-1]

    yield make
    for one in made:
        one.source.close()


@pytest.fixture(params=["compiled", "plain"], scope="module")
def both_ways(request: pytest.FixtureRequest) -> Iterator[None]:
    """Everything once with the compiled part, and once without it."""
    assert native.library, "the compiled part is not there: install Logwax again"
    with pytest.MonkeyPatch.context() as patched:
        if request.param == "plain":
            patched.setattr(native, "library", None)
        yield
