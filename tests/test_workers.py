"""Workers, processes, hosts and clusters that share a server or feed two stores, and outages.

Processes of one host share its files by claims; hosts share nothing but the server. At the end of
each test every numbered line is to be found once.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest

from tests.conftest import DEADLINE, ROOT, Pipeline, find_port, wait_for
from tests.kill_harness import SETTINGS, Plan, Tally, stored_by, tally, writing, written
from tests.servers.clickhouse_http import ServerProcess
from tests.servers.influxd import Influxd

EXACT = Tally(missing=0, twice=0, strange=0)
PLAN = Plan(kills=0, files=6, rate=20_000, rotate_every=2.0, gzip=True)
CATCH_UP = 600.0  # a busy machine takes its time
Start = Callable[..., Pipeline]


def influxd(directory: Path) -> Influxd:
    made = Influxd(directory)
    made.create()
    return made


SERVERS: dict[str, Callable[[Path], ServerProcess | Influxd]] = {
    "clickhouse": ServerProcess,
    "influxdb": influxd,
}


@pytest.fixture
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ServerProcess | Influxd]:
    made = SERVERS[getattr(request, "param", "clickhouse")](tmp_path / "server")
    yield made
    made.stop()


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """The directory of a host, with a place for its logs."""
    return make_host(tmp_path / "host")


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a pipeline in the directory of a host; ends it with the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start_it(
        host: Path, *arguments: str, within: Sequence[str] = (), **settings: object
    ) -> Pipeline:
        pipeline = Pipeline(host, find_port())
        known = {**settings_of(host), "API_PORT": pipeline.port, **settings}
        with (host / "stderr").open("a") as stderr:
            process = subprocess.Popen(
                [*within, sys.executable, "-m", "bytewax.run", "flows.main", *arguments],
                cwd=host,
                env=pipeline.environment(**known),
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        started.append(process)
        pipeline.running = process  # type: ignore[assignment]
        return pipeline

    yield start_it
    for process in started:
        process.kill()
        process.wait()


def make_host(directory: Path) -> Path:
    (directory / "logs").mkdir(parents=True)
    return directory


def settings_of(host: Path) -> dict[str, object]:
    return {**SETTINGS, "LOG_PATHS": host / "logs" / "app*.log*"}


def on(server: ServerProcess | Influxd, **settings: object) -> dict[str, object]:
    """The settings of a pipeline that stores on this server."""
    if isinstance(server, Influxd):
        return {
            "STORE": "influxdb",
            "INFLUXDB_API": "v1",
            "INFLUXDB_URL": server.url,
            **settings,
        }
    url = f"{server.url}/?send_receive_timeout=2"
    return {"STORE": "clickhouse", "CLICKHOUSE_URL": url, **settings}


def stored(pipeline: Pipeline) -> int:
    """Lines that this process has stored."""
    try:
        return int(pipeline.get("/health").json()["lines_stored"])
    except httpx.TransportError:  # it is only just starting
        return 0


def has_caught_up(pipeline: Pipeline) -> bool:
    """Whether it has stored all that it has seen."""
    try:
        return not pipeline.get("/health").json()["lag_bytes"]
    except httpx.TransportError:
        return False


def wait_until_all_store(pipelines: Sequence[Pipeline]) -> None:
    """Each of them goes on, from now."""
    before = [stored(pipeline) for pipeline in pipelines]
    for pipeline, lines in zip(pipelines, before, strict=True):
        wait_until_it_stores(pipeline, lines)


def wait_until_it_stores(pipeline: Pipeline, lines: int) -> None:
    """Wait until it has stored more than so many lines."""
    process = pipeline.running
    assert process

    def goes_on() -> bool:
        assert process.poll() is None, (pipeline.directory / "stderr").read_text()
        return stored(pipeline) > lines

    wait_for(goes_on, "more stored lines", deadline=CATCH_UP)


def kill(pipeline: Pipeline, draw: random.Random) -> None:
    """SIGKILL, at any moment of the next half second."""
    assert pipeline.running
    time.sleep(draw.uniform(0, 0.5))
    pipeline.running.kill()
    pipeline.running.wait()


def store_the_rest(host: Path, **settings: object) -> None:
    done = Pipeline(host, 0).run(deadline=CATCH_UP, **{**settings_of(host), **settings})
    assert done.returncode == 0, done.stderr


def counted(host: Path, lines: Mapping[str, int], **settings: object) -> Tally:
    """What the store holds of the lines of a host."""
    texts = {name: str(value) for name, value in settings.items()}
    with stored_by(host, texts, under=host) as held:
        return tally(held, lines)


# --- processes and workers of one host --------------------------------------------------------


def test_a_worker_that_writes_for_long_holds_up_no_other() -> None:
    command = [sys.executable, "-m", "bytewax.run", "tests.two_workers", "-w", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr


def test_processes_of_a_host_go_on_while_one_of_them_dies_and_comes_back(
    host: Path, server: ServerProcess, start: Start, soak: bool
) -> None:
    draw = random.Random(1)
    with writing(host / "logs", PLAN) as writer:
        processes = [start(host, **on(server)) for _ in range(3)]
        for _ in range(60 if soak else 1):
            wait_until_all_store(processes)
            kill(processes.pop(0), draw)
            wait_until_all_store(processes)
            processes.append(start(host, **on(server)))
        wait_until_all_store(processes)
        assert [process.stop() for process in processes] == [0, 0, 0]
        lines = written(writer)["lines"]
    store_the_rest(host, **on(server))
    assert counted(host, lines, **on(server)) == EXACT


def test_processes_take_turns_with_one_busy_file_while_one_of_them_dies(
    host: Path, server: ServerProcess, start: Start
) -> None:
    with writing(host / "logs", replace(PLAN, files=1, rotate_every=1e9)) as writer:
        processes = [start(host, **on(server)) for _ in range(2)]
        for _ in range(3):
            wait_until_all_store(processes)
        kill(processes.pop(), random.Random(4))
        wait_until_all_store(processes)
        assert processes[0].stop() == 0
        lines = written(writer)["lines"]
    store_the_rest(host, **on(server))
    assert counted(host, lines, **on(server)) == EXACT
    assert len(list((host / "data" / "claims").iterdir())) == 2, "one claim, and all ids"


def test_counts_of_workers_and_processes_may_change_at_every_start(
    host: Path, server: ServerProcess, start: Start, soak: bool
) -> None:
    draw = random.Random(2)
    with writing(host / "logs", PLAN) as writer:
        for workers, processes in [(1, 1), (4, 1), (1, 2), (1, 1)] * (12 if soak else 1):
            running = [start(host, "-w", str(workers), **on(server)) for _ in range(processes)]
            wait_until_all_store(running)
            for process in running:
                kill(process, draw)
        lines = written(writer)["lines"]
    store_the_rest(host, **on(server))
    assert counted(host, lines, **on(server)) == EXACT


def test_a_cluster_falls_with_one_of_its_members_and_is_started_again(
    host: Path, server: ServerProcess, start: Start, soak: bool
) -> None:
    draw = random.Random(3)

    def start_cluster() -> list[Pipeline]:
        addresses = ";".join(f"127.0.0.1:{find_port()}" for _ in range(2))
        return [start(host, "-i", str(i), "-a", addresses, **on(server)) for i in range(2)]

    with writing(host / "logs", PLAN) as writer:
        for _ in range(40 if soak else 1):
            cluster = start_cluster()
            wait_until_all_store(cluster)
            draw.shuffle(cluster)
            victim, other = cluster
            kill(victim, draw)
            assert other.running
            assert other.running.wait(DEADLINE) != 0
        cluster = start_cluster()
        wait_until_all_store(cluster)
        for member in cluster:
            assert member.running
            member.running.terminate()
        assert [member.running.wait(DEADLINE) for member in cluster if member.running] == [0, 0]
        lines = written(writer)["lines"]
    store_the_rest(host, **on(server))
    assert counted(host, lines, **on(server)) == EXACT


# --- hosts ------------------------------------------------------------------------------------


class Network:
    """Hosts as network namespaces, each with a cable to this machine; `address` is its own."""

    def __init__(self, hosts: int) -> None:
        self.names = [f"lw{os.getpid()}n{number}" for number in range(hosts)]
        self.address = f"10.213.{os.getpid() % 256}.1"

    def build(self) -> None:
        for number, name in enumerate(self.names):
            theirs = self.address.rpartition(".")[0] + f".{number + 2}"
            ip("netns", "add", name)
            ip("link", "add", name, "type", "veth", "peer", "name", "up0", "netns", name)
            for inside, here, there, device in (
                ((), self.address, theirs, name),
                (("-n", name), theirs, self.address, "up0"),
            ):
                ip(*inside, "address", "add", here, "peer", there, "dev", device)
                ip(*inside, "link", "set", device, "up")
            ip("-n", name, "link", "set", "lo", "up")

    def inside(self, number: int) -> list[str]:
        """What a command begins with that runs on this host."""
        return ["ip", "netns", "exec", self.names[number]]

    @contextmanager
    def cut(self, number: int) -> Iterator[None]:
        """The host is away from the network."""
        ip("-n", self.names[number], "link", "set", "up0", "down")
        yield
        ip("-n", self.names[number], "link", "set", "up0", "up")

    def close(self) -> None:
        for name in self.names:
            with suppress(subprocess.CalledProcessError):
                ip("netns", "delete", name)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def network() -> Iterator[Network | None]:
    """Two hosts; None where this machine does not allow for them."""
    made = Network(2)
    try:
        made.build()
    except (OSError, subprocess.CalledProcessError):
        warnings.warn("no network namespaces here: the hosts are processes only", stacklevel=1)
        yield None
    else:
        yield made
    made.close()


def test_hosts_with_equal_files_store_on_one_server_though_one_is_cut_off_for_a_while(
    tmp_path: Path, network: Network | None, start: Start, soak: bool
) -> None:
    hosts = [make_host(tmp_path / name) for name in ("one", "two")]
    server = ServerProcess(tmp_path / "server", *([network.address] if network else []))
    settings = [on(server, INSTANCE=host.name) for host in hosts]

    def rows(host: Path) -> int:
        with stored_by(host, {k: str(v) for k, v in settings[0].items()}, under=host) as held:
            return held.count()

    def wait_for_more(*hosts: Path) -> None:
        for host, before in [(host, rows(host)) for host in hosts]:
            wait_for(lambda host=host, before=before: rows(host) > before, f"more of {host.name}")

    try:
        with writing(hosts[0] / "logs", PLAN) as one, writing(hosts[1] / "logs", PLAN) as two:
            running = [
                start(host, within=network.inside(number) if network else (), **settings[number])
                for number, host in enumerate(hosts)
            ]
            for host in hosts:
                wait_for((host / "data" / "claims").exists, "a file that is claimed")
            wait_for_more(*hosts)
            for _ in range(20 if soak else 1):
                if network:
                    with network.cut(0):
                        said = hosts[0] / "stderr"
                        been = said.read_text().count("cannot be used now")
                        wait_for(
                            lambda: said.read_text().count("cannot be used now") > been,  # noqa: B023
                            "a host that notices",
                        )
                        for _ in range(3):
                            wait_for_more(hosts[1])
                for _ in range(4):  # both writers of a worker store again, and say what comes next
                    wait_for_more(*hosts)
            assert [pipeline.stop() for pipeline in running] == [0, 0]
            lines = [written(writer)["lines"] for writer in (one, two)]
        for host, its in zip(hosts, settings, strict=True):
            store_the_rest(host, **its)
        counts = [
            counted(*each[:2], **each[2]) for each in zip(hosts, lines, settings, strict=True)
        ]
        assert counts == [EXACT, EXACT]
    finally:
        server.stop()


# --- two stores, and one that is away ---------------------------------------------------------


def test_two_processes_feed_two_stores_and_one_goes_on_while_the_other_store_is_away(
    host: Path, server: ServerProcess, start: Start
) -> None:
    here, there = {"STORE": "embedded"}, on(server, DATA_DIR="other")
    with writing(host / "logs", PLAN) as writer:
        one, other = start(host, **here), start(host, **there)
        wait_until_all_store([one, other])
        server.stop()
        wait_for(lambda: other.get("/health").status_code == 503, "a store that is missed")
        for _ in range(3):
            wait_until_all_store([one])
            assert one.is_healthy()
        server.start()
        other.wait_until_healthy()
        wait_until_all_store([other])
        lines = written(writer)["lines"]
    assert [process.stop() for process in (one, other)] == [0, 0]
    for settings in (here, there):
        store_the_rest(host, **settings)
        assert counted(host, lines, **settings) == EXACT


@pytest.mark.parametrize("server", SERVERS, indirect=True)
def test_memory_does_not_grow_while_the_store_is_away(
    host: Path, server: ServerProcess | Influxd, start: Start, soak: bool
) -> None:
    with writing(host / "logs", PLAN) as writer:
        pipeline = start(host, "-w", "2", **on(server))
        for _ in range(3):
            wait_until_all_store([pipeline])
        assert pipeline.running
        process = psutil.Process(pipeline.running.pid)
        server.stop()
        wait_for(lambda: not pipeline.is_healthy(), "a store that is missed")
        before, end = process.memory_info().rss, time.monotonic() + (60 if soak else 3)
        most = before
        while time.monotonic() < end:
            pipeline.is_healthy()  # whoever watches goes on asking, too
            most = max(most, process.memory_info().rss)
            time.sleep(0.1)
        server.start()
        pipeline.wait_until_healthy()
        wait_until_all_store([pipeline])
        lines = written(writer)["lines"]
    # A stop while a server that is only just back does not answer is no success.
    wait_for(lambda: has_caught_up(pipeline), "the lines of the outage", deadline=CATCH_UP)
    assert pipeline.stop() == 0
    store_the_rest(host, **on(server))
    assert counted(host, lines, **on(server)) == EXACT
    assert most - before < 50e6
