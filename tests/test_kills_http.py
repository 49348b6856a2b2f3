"""The same proof against a server: several processes at once, and faults in every tenth answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kill_harness import Plan, kill_and_count
from tests.servers.clickhouse_http import ServerProcess


@pytest.fixture
def faulty_server(tmp_path: Path) -> Iterator[str]:
    """The URL of a ClickHouse server that fails one request of ten, before or after its work."""
    server = ServerProcess(tmp_path / "server", faults=0.1, seed=7)
    yield server.url
    server.stop()


def test_stores_every_line_once_though_processes_die_and_answers_get_lost(
    tmp_path: Path, faulty_server: str, soak: bool
) -> None:
    settings = {
        "STORE": "clickhouse",
        "CLICKHOUSE_URL": f"{faulty_server}/?send_receive_timeout=2",
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
