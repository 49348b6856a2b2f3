"""The servers that other tests rely on: that they do what those tests take for granted."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.servers.influxd import Influxd


def values(server: Influxd) -> list[list[object]]:
    """All points of the measurement `m`: time and value."""
    return [point for series in server.query("SELECT x FROM m") for point in series["values"]]


# --- influxd ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kill", [False, True])
def test_influxd_keeps_port_and_points_over_a_restart(influxd: Influxd, kill: bool) -> None:
    url = influxd.url
    influxd.write(b"m x=1i 1\nm x=2i 2")
    influxd.stop(kill=kill)
    influxd.start()
    assert influxd.url == url
    assert values(influxd) == [[1, 1], [2, 2]]


def test_influxd_with_a_user_lets_nobody_else_in(tmp_path: Path) -> None:
    with Influxd(tmp_path / "influxd", user="logwax:ge/heim") as server:
        server.create()
        server.write(b"m x=1i 1")
        server.stop()
        server.start()
        assert values(server) == [[1, 1]]
        stranger = httpx.get(f"{server.url}/query", params={"q": "SHOW DATABASES"})
        assert stranger.status_code == 401


def test_influxd_raises_what_it_did_not_store(influxd: Influxd) -> None:
    influxd.write(b"m x=1i 1")
    with pytest.raises(AssertionError, match="partial write: field type conflict"):
        influxd.write(b'm x="text" 2\nm x=3i 3')
    assert values(influxd) == [[1, 1], [3, 3]]
