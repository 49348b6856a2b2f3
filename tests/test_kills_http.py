"""The same proof against a server: several processes at once, and faults in every tenth answer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT, wait_for
from tests.kill_harness import Plan, kill_and_count


@pytest.fixture
def faulty_server(tmp_path: Path, free_port: int) -> Iterator[str]:
    """The URL of a ClickHouse server that fails one request of ten, before or after its work."""
    command = [sys.executable, "-m", "tests.servers.clickhouse_http", "--port", str(free_port)]
    command += ["--data", str(tmp_path / "server"), "--faults", "0.1", "--seed", "7"]
    server = subprocess.Popen(command, cwd=ROOT)
    url = f"http://127.0.0.1:{free_port}/"

    def answers() -> bool:
        assert server.poll() is None, "the server ended by itself"
        try:
            return httpx.get(f"{url}ping").status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_for(answers, "the server")
        yield url
    finally:
        server.terminate()
        server.wait()


def test_stores_every_line_once_though_processes_die_and_answers_get_lost(
    tmp_path: Path, faulty_server: str, soak: bool
) -> None:
    settings = {
        "STORE": "clickhouse",
        "CLICKHOUSE_URL": f"{faulty_server}?send_receive_timeout=2",
    }
    plan = Plan(
        kills=100 if soak else 4,
        processes=2,
        rate=25_000,
        rotate_every=4.0 if soak else 1.5,
        gzip=True,
        longest_life=6.0,
        settings=settings,
    )
    outcome = kill_and_count(tmp_path / "kills", plan)
    assert outcome.is_exact, f"seed {plan.seed}: {outcome}"
    assert outcome.rotations > plan.files
    assert outcome.stored_by_killed > 0, "nobody was killed at work"
