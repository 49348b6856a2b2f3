"""How long answers take while lines come in, and how many lines are stored meanwhile.

A generator writes `_LINES` lines a second into a file, into a store that has `lines` rows already.
Meanwhile `_QUESTIONS` a second are asked, all routes in turn; each is late by what the ones before
it take, too, for it counts from when it was due. Those that are refused (429) are counted. Before,
nobody asks.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median
from urllib.request import urlopen

import httpx

from benchmarks.job import answers, free_port, make_log
from benchmarks.measure import BenchmarkError, Effort, Figure, Process, Wanted, new_directory

_LINES = 50_000
_QUESTIONS = 50
_SECONDS = 20.0  # that questions are asked, and that nobody asks, in a round
_PATIENCE = 60.0
_KEPT_OPEN = 1.0  # seconds, of a connection without a question: the server closes it after five

P99 = 300
"""Milliseconds that the p99 of all answers may take."""

REFUSED = 1
"""Percent of the questions that may be refused, as their client has too many others waiting."""

KEPT = 0.85
"""Share of the lines that are stored while nobody asks."""

_ROUTES = {
    "/logs": "/logs?limit=100",
    "/logs, a text": "/logs?limit=100&filter=status_code%20%3E%3D%20500%20orders",
    "/logs/histogram": "/logs/histogram",
    "/logs/facets": "/logs/facets",
    "/customers": "/customers",
    "/customers/…/stats": "/customers/{customer}/stats",
    "/endpoints": "/endpoints",
    "/stats": "/stats",
    "/explain": "/explain?filter=status_code%20%3E%3D%20500",
    "/logs/tail": "/logs/tail",
    "/logs/export": "/logs/export?format=ndjson&filter=customer_id%20%3D%20{customer}",
    "/pipeline": "/pipeline",
    "/metrics": "/metrics",
    "/health": "/health",
    "/dead-letters": "/dead-letters",
}


def measure(effort: Effort, scratch: Path) -> Iterator[Figure]:
    """The p99 of each route beside its p50, and lines a second; nothing if it is to be brief."""
    if effort.brief:
        return
    taken: dict[str, list[float]] = defaultdict(list)
    refused: Counter[bool] = Counter()
    asked, unasked = list[float](), list[float]()
    with _running(effort.lines, scratch) as (url, pipeline):
        customer = _some_customer(url)
        for _ in range(effort.rounds):
            unasked.append(_stored_a_second(url, lambda: pipeline.rest(_SECONDS)))
            ask = _ask_all(url, customer, taken, refused)
            asked.append(_stored_a_second(url, partial(asyncio.run, ask)))
    every = sorted(one for several in taken.values() for one in several)
    name = f"{_QUESTIONS} questions and {_LINES:,} lines a second"
    yield _figure(name, every, [Wanted(P99, "ms")])
    for route, several in taken.items():
        yield _figure(route, sorted(several), [])
    share = 100 * refused[True] / refused.total()
    yield Figure("asked", "refused (429)", "%", [share], "of", [100.0], [Wanted(REFUSED, "%")])
    wanted = [Wanted(KEPT, at_least=True)]
    yield Figure("asked", "lines stored", "lines/s", asked, "while nobody asks", unasked, wanted)


def _figure(name: str, taken: list[float], wanted: list[Wanted]) -> Figure:
    p99 = taken[math.ceil(0.99 * len(taken)) - 1]
    return Figure("asked", f"{name}: p99", "ms", [p99], "p50", [median(taken)], wanted)


@contextmanager
def _running(lines: int, scratch: Path) -> Iterator[tuple[str, Process]]:
    """A pipeline that has stored so many lines, and to whose file others are added."""
    directory, port = new_directory(scratch), free_port()
    past, live = make_log(scratch, "json", lines).paths, directory / "live.log"
    url = f"http://127.0.0.1:{port}"
    command = (sys.executable, "-m", "bytewax.run", "flows.main")
    settings = {"LOG_PATHS": f"{past},{live}", "LOG_FORMAT": "json", "API_PORT": str(port)}
    writing = {
        "LOG_FILE_PATH": str(live),
        "LOG_GENERATOR_FORMAT": "json",
        "LOG_BATCH_SIZE": str(_LINES // 20),
        "LOG_INTERVAL_SECONDS": "0.05",
    }
    with Process(*command, directory=directory, settings=settings) as pipeline:
        pipeline.wait_for(
            lambda: answers(f"{url}/ready") and _stored(url) >= lines, "the past is stored", 600, 1
        )
        generator = (sys.executable, "-m", "log_generator")
        with Process(*generator, directory=directory, settings=writing):
            pipeline.wait_for(lambda: _stored(url) > lines + _LINES, "lines come in", 300, 1)
            yield url, pipeline
        pipeline.stop()


def _stored_a_second(url: str, meanwhile: Callable[[], None]) -> float:
    before, began = _stored(url), time.monotonic()
    meanwhile()
    return (_stored(url) - before) / (time.monotonic() - began)


def _stored(url: str) -> int:
    with urlopen(f"{url}/health", timeout=_PATIENCE) as answer:
        return int(json.load(answer)["lines_stored"])


def _some_customer(url: str) -> str:
    with urlopen(f"{url}/customers?limit=20", timeout=_PATIENCE) as answer:
        return str(json.load(answer)["customers"][-1]["customer_id"])


async def _ask_all(
    url: str, customer: str, taken: dict[str, list[float]], refused: Counter[bool]
) -> None:
    paths = cycle(_ROUTES.items())
    async with httpx.AsyncClient(
        base_url=url,
        timeout=_PATIENCE,
        trust_env=False,
        verify=False,
        limits=httpx.Limits(max_connections=None, keepalive_expiry=_KEPT_OPEN),
    ) as client:

        async def ask(route: str, path: str, due: float) -> None:
            async with client.stream("GET", path.format(customer=customer)) as answer:
                refused[answer.status_code == 429] += 1
                if answer.status_code == 429:
                    return
                if answer.status_code != 200:
                    raise BenchmarkError(f"{path}: {answer.status_code} {await answer.aread()!r}")
                async for _ in answer.aiter_raw():
                    if route == "/logs/tail":  # it has no end
                        break
            taken[route].append((time.monotonic() - due) * 1000)

        began = time.monotonic()
        asked = set()
        for number in range(round(_SECONDS * _QUESTIONS)):
            due = began + number / _QUESTIONS
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            route, path = next(paths)
            asked.add(asyncio.create_task(ask(route, path, due)))
        await asyncio.gather(*asked)
