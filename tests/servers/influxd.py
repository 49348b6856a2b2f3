"""Debian's InfluxDB (package `influxdb`, 1.6.7) as a process of its own, on loopback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from tests.conftest import find_port
from tests.servers.program import Program

CONFIG = """\
reporting-enabled = false
bind-address = "127.0.0.1:0"
[meta]
  dir = "{directory}/meta"
  logging-enabled = false
[data]
  dir = "{directory}/data"
  wal-dir = "{directory}/wal"
  query-log-enabled = false
  max-series-per-database = 0
  max-values-per-tag = 0
[monitor]
  store-enabled = false
[subscriber]
  enabled = false
[continuous_queries]
  enabled = false
[http]
  bind-address = "127.0.0.1:{port}"
  auth-enabled = {auth}
  log-enabled = false
  max-body-size = 0
[logging]
  level = "warn"
  suppress-logo = true
"""


class Influxd(Program):
    """An InfluxDB server over `directory`, from now until `stop`; `start` brings it back.

    It keeps its port over a restart. With `user` (`name:password`) nobody else is let in, and this
    user may do everything; without, everybody may.
    """

    def __init__(self, directory: Path, *, port: int = 0, user: str = "") -> None:
        self.port = port or find_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        auth = "true" if user else "false"
        config = CONFIG.format(directory=directory, port=self.port, auth=auth)
        (directory / "influxd.conf").write_text(config)
        name, _, password = user.partition(":")
        self._client = httpx.Client(
            base_url=self.url,
            auth=(name, password) if user else None,
            timeout=60,
            trust_env=False,
            verify=False,
        )
        super().__init__(directory / "influxd.log")
        self.start()
        if user and not (directory / "secured").exists():
            # The first user may be made by anybody.
            self.query(f"CREATE USER \"{name}\" WITH PASSWORD '{password}' WITH ALL PRIVILEGES")
            (directory / "secured").touch()

    def __enter__(self) -> Influxd:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        self._client.close()

    def start(self) -> None:
        """Return once it answers."""
        self._run("influxd", "run", "-config", str(self._directory / "influxd.conf"))

    def create(self, db: str = "logwax") -> None:
        self.query(f'CREATE DATABASE "{db}"')

    def write(self, body: bytes, db: str = "logwax", **params: str) -> None:
        """Store these lines; raises with the server's words if it stored not all of them."""
        answer = self._client.post("/write", params={"db": db, **params}, content=body)
        assert answer.status_code == 204, f"{answer.status_code}: {answer.text}"

    def query(self, q: str, db: str = "logwax", **params: str) -> list[dict[str, Any]]:
        """The series of the answer (`name`, `tags`, `columns`, `values`), times in nanoseconds."""
        asked = {"db": db, "epoch": "ns", **params}
        answer = self._client.post("/query", params=asked, data={"q": q}).json()
        results = answer.get("results", [answer])
        errors = [result["error"] for result in results if "error" in result]
        assert not errors, f"{errors[0]}: {q}"
        return [series for result in results for series in result.get("series", [])]

    def _answers(self) -> bool:
        try:
            return self._client.get("/ping").status_code == 204
        except httpx.TransportError:
            return False
