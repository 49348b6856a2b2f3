"""The pipeline into InfluxDB: how it starts, goes on, stops, and says what is wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Pipeline, wait_for
from tests.kill_harness import Plan, kill_and_count
from tests.servers.influxd import Influxd
from tests.servers.influxdb_http import Server
from tests.test_audit import line, logwax, total
from tests.test_clickhouse_server import write_log


@pytest.fixture
def server(influxd: Influxd) -> Iterator[Server]:
    """InfluxDB 2.x in front of the test's server, with the token `secret`."""
    made = Server(influxd.url, token="secret", org="us")
    yield made
    made.close()


def into(url: str, **settings: str) -> dict[str, str]:
    """The settings of a pipeline that stores there."""
    return {
        "STORE": "influxdb",
        "INFLUXDB_URL": url,
        "INFLUXDB_TOKEN": "secret",
        "INFLUXDB_ORG": "us",
        "INSTANCE": "host",
        "LOG_PATHS": "in.log",
        **settings,
    }


def points(influxd: Influxd) -> int:
    counted = influxd.query('SELECT COUNT("offset") FROM "api_requests"')
    return int(counted[0]["values"][0][1]) if counted else 0


@pytest.mark.parametrize("settings", [{}, {"INFLUXDB_GZIP": "true"}])
def test_stores_every_line_once_and_goes_on_where_it_was(
    pipeline: Pipeline, influxd, server, settings
):
    write_log(pipeline.directory, 1000)
    assert pipeline.run(**into(server.url, **settings)).returncode == 0
    write_log(pipeline.directory, 500, first=1000)
    done = pipeline.run(**into(server.url, **settings))
    assert (done.returncode, done.stdout.split()[:2]) == (0, ["lines=500", "stored=500"])
    assert points(influxd) == 1500


def test_the_older_interface_needs_no_user(pipeline: Pipeline, influxd):
    write_log(pipeline.directory, 1000)
    done = pipeline.run(**into(influxd.url, INFLUXDB_API="v1"))
    assert (done.returncode, done.stderr) == (0, "")
    assert points(influxd) == 1000


def test_the_older_interface_takes_a_user(pipeline: Pipeline, tmp_path: Path):
    with Influxd(tmp_path / "secured", user="logwax:geheim") as secured:
        secured.create()
        write_log(pipeline.directory, 1000)
        given: dict[str, Any] = {"INFLUXDB_API": "v1", "INFLUXDB_USER": "logwax"}
        refused = pipeline.run(**into(secured.url, **given, INFLUXDB_PASSWORD="wrong"))
        assert refused.returncode == 1
        assert "status 401: authorization failed" in refused.stderr
        done = pipeline.run(**into(secured.url, **given, INFLUXDB_PASSWORD="geheim"))
        assert (done.returncode, points(secured)) == (0, 1000)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"INFLUXDB_TOKEN": "wrong"}, "status 401: unauthorized access"),
        ({"INFLUXDB_BUCKET": "nowhere"}, 'status 404: bucket "nowhere" not found'),
        ({"INFLUXDB_ORG": "them"}, 'status 404: organization name "them" not found'),
    ],
)
def test_reads_nothing_where_it_may_not_write(pipeline: Pipeline, influxd, server, settings, why):
    write_log(pipeline.directory, 10)
    done = pipeline.run(**into(server.url, **settings))
    assert done.returncode == 1
    [sentence] = done.stderr.splitlines()
    assert sentence.startswith(f"Cannot open InfluxDB at 127.0.0.1:{server.port}: {why}")
    assert points(influxd) == 0


def test_needs_a_name_of_its_own_in_a_container(pipeline: Pipeline, influxd):
    from connectors import preflight
    from settings import Settings

    chosen = Settings(_env_file=None, store="influxdb", influxdb_url=influxd.url, api_port=0)
    inside = any(mark.exists() for mark in preflight.CONTAINER_MARKS)
    assert any("INSTANCE" in problem for problem in preflight.problems(chosen)) == inside


def test_answers_from_the_bucket_while_it_runs(pipeline: Pipeline, influxd, server):
    log = write_log(pipeline.directory, 999)
    pipeline.start(**into(server.url))
    pipeline.wait_until_healthy()

    def answered() -> int:
        answer = pipeline.get("/customers/cust_1/stats?from_date=1970-01-01")
        return int(answer.json()["total_requests"]) if answer.status_code == 200 else 0

    wait_for(lambda: answered() == 333, "statistics")
    with log.open("a") as file:
        file.write("2026-11-01 10:00:00 cust_1 /orders/1 500 0.5\n")
    wait_for(lambda: answered() == 334, "the new line")
    health = pipeline.get("/health").json()
    assert (health["status"], health["lines_stored"]) == ("ok", 1000)
    assert pipeline.stop() == 0


def test_a_server_that_is_away_turns_health_red_and_is_waited_for(pipeline: Pipeline, influxd):
    write_log(pipeline.directory, 1000)
    pipeline.start(**into(influxd.url, INFLUXDB_API="v1"))
    pipeline.wait_until_healthy()
    wait_for(lambda: points(influxd) == 1000, "1000 points")
    influxd.stop(kill=True)
    write_log(pipeline.directory, 1000, first=1000)
    wait_for(lambda: "Connection refused" in pipeline.get("/health").json()["last_error"], "red")
    assert pipeline.get("/health").status_code == 503
    influxd.start()
    wait_for(lambda: points(influxd) == 2000, "2000 points")
    pipeline.wait_until_healthy()
    assert pipeline.stop() == 0


def test_ends_within_seconds_while_the_server_is_away_and_the_next_run_stores_the_rest(
    pipeline: Pipeline, influxd
):
    write_log(pipeline.directory, 1000)
    settings = into(influxd.url, INFLUXDB_API="v1")
    pipeline.start(**settings)
    pipeline.wait_until_healthy()
    wait_for(lambda: points(influxd) == 1000, "1000 points")
    influxd.stop()
    write_log(pipeline.directory, 1000, first=1000)
    wait_for(lambda: pipeline.get("/health").json()["last_error"], "an error")
    pipeline.stop(deadline=5)
    influxd.start()
    assert pipeline.run(**settings).returncode == 0
    assert points(influxd) == 2000


def be_away(influxd: Influxd, seconds: float) -> None:
    """Once points have arrived, stop the server for so long."""
    wait_for(lambda: points(influxd), "points")
    influxd.stop()
    time.sleep(seconds)
    influxd.start()


def test_stores_every_line_once_though_it_is_killed_and_the_server_fails_and_stops(
    tmp_path: Path, influxd: Influxd, soak: bool
):
    faulty = Server(influxd.url, ratio=0.1, seed=7)
    outage = threading.Thread(target=be_away, args=[influxd, 20 if soak else 2])
    outage.start()
    try:
        plan = Plan(
            kills=30 if soak else 6,
            processes=2,
            rate=10_000,
            rotate_every=4.0 if soak else 1.5,
            gzip=True,
            longest_life=6.0,
            settings={"STORE": "influxdb", "INFLUXDB_URL": faulty.url},
        )
        outcome = kill_and_count(tmp_path / "kills", plan)
    finally:
        outage.join()
        faulty.close()
    assert outcome.is_exact, f"seed {plan.seed}: {outcome}"
    assert outcome.stored_by_killed > 0, "nobody was killed at work"


def test_commands_say_of_a_bucket_what_its_points_tell(pipeline: Pipeline, influxd):
    given = into(influxd.url, INFLUXDB_API="v1", LOG_START="end")
    log = pipeline.directory / "in.log"
    log.write_text(line(0))
    assert pipeline.run(**given).returncode == 0
    with log.open("a") as file:
        file.write("".join(map(line, range(1, 10))) + "broken\n")
    assert pipeline.run(**given).stdout.startswith("lines=10 stored=9 dead=1 ")
    size = 10 * len(line(0)) + len("broken\n")
    assert f" {size} {size} 0 " in " ".join(logwax(pipeline, "positions", **given).stdout.split())
    audit = logwax(pipeline, "audit", **given)
    assert "lines=10 stored=9 dead=1 " in audit.stdout
    assert (audit.returncode, audit.stderr) == (0, "")
    assert logwax(pipeline, "dead", **given).stdout.startswith("missing_fields: 1\n")
    for command in (("redrive",), ("backfill", "in.log"), ("query", "SELECT 1")):
        done = logwax(pipeline, *command, **given)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert "STORE=influxdb" in done.stderr
    [series] = influxd.query('SELECT "offset" FROM "api_requests" WHERE "offset" = 260')
    lost = series["values"][0][0]
    influxd.query(f'DELETE FROM "api_requests" WHERE time = {lost}')
    lack = logwax(pipeline, "audit", **given)
    assert (lack.returncode, "missing 260-312" in lack.stdout) == (1, True)


def test_the_audit_knows_what_the_settings_drop(pipeline: Pipeline, influxd, server):
    (pipeline.directory / "in.log").write_text("".join(map(line, range(30))))
    settings = into(server.url, DROP="customer_id = cust_1")
    assert pipeline.run(**settings).stdout.startswith("lines=30 stored=20 dead=0")
    done = logwax(pipeline, "audit", **into(server.url))
    assert (done.returncode, total(done.stdout)["dropped"]) == (0, 10), done.stdout
