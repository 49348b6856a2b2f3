"""What `./start.sh` runs once all is installed: generator, pipeline and API together, for real."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator

import psutil
import pytest

from tests.conftest import DEADLINE, Pipeline, wait_for


@pytest.fixture
def up(pipeline: Pipeline) -> Iterator[subprocess.Popen[bytes]]:
    supervisor = subprocess.Popen(
        [sys.executable, "-m", "cli", "up"],
        cwd=pipeline.directory,
        env=pipeline.environment(LOG_BATCH_SIZE=50, LOG_INTERVAL_SECONDS=0.05, LOG_TIMEZONE="UTC"),
        stdout=subprocess.PIPE,
    )
    yield supervisor
    if supervisor.poll() is None:
        supervisor.kill()
    supervisor.communicate()


def percentile(values: list[float], share: float) -> float:
    """By linear interpolation between the closest ranks."""
    place = (len(values) - 1) * share
    below = int(place)
    above = min(below + 1, len(values) - 1)
    return values[below] + (values[above] - values[below]) * (place - below)


def figures(requests: list[tuple[int, float]]) -> dict[str, float]:
    """What the API says of these requests (status, seconds), by plain Python."""
    seconds = sorted(duration for _, duration in requests)
    good = sum(200 <= status < 400 for status, _ in requests)
    return {
        "total_requests": len(requests),
        "successful_requests": good,
        "failed_requests": len(requests) - good,
        "uptime": round(good / len(requests) * 100, 5),
        "average_latency": round(sum(seconds) / len(requests), 5),
        "median_latency": round(percentile(seconds, 0.5), 5),
        "p99_latency": round(percentile(seconds, 0.99), 5),
    }


def test_statistics_are_what_the_lines_say_and_a_signal_leaves_nothing_running(pipeline, up):
    pipeline.wait_until_healthy()
    pipeline.wait_until_stored(2000)
    answer = pipeline.get("/customers/cust_1/stats?from_date=1970-01-01").json()
    days: dict[str, list[tuple[int, float]]] = defaultdict(list)
    log = pipeline.directory / "data/demo/logs/api_requests.log"
    mine = [line for line in log.read_text().splitlines() if " cust_1 " in line]
    for line in mine[: answer["total_requests"]]:
        date, _, _, _, status, duration = line.split(" ")
        days[date].append((int(status), float(duration)))
    expected = figures([request for day in days.values() for request in day])
    assert {name: answer[name] for name in expected} == pytest.approx(expected, abs=1e-5)
    assert answer["daily"] == [
        {"date": date, **{name: pytest.approx(value, abs=1e-5) for name, value in of_day.items()}}
        for date, of_day in ((date, figures(day)) for date, day in sorted(days.items()))
    ]

    children = psutil.Process(up.pid).children(recursive=True)
    assert len(children) == 2
    up.send_signal(signal.SIGTERM)
    assert up.wait(DEADLINE) == 0
    wait_for(lambda: not any(child.is_running() for child in children), "an end of all processes")
