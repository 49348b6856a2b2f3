"""Kills pipelines under load, again and again, and counts what became of every line.

`python -m tests.kill_harness --kills 20 --seed 7`: a writer of its own process appends numbered
lines to files that it rotates, while pipelines are started and, at random moments, killed
(SIGKILL). A last run reads the rest. Then every number is to be found once: the exit code is 1 if
it is not.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import clickhouse_connect
import httpx
import polars as pl
import psutil
import pymongo
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from urllib3.exceptions import HTTPError

from tests.conftest import ROOT, Pipeline, wait_for

CATCH_UP_SECONDS = 900.0
SETTINGS = {"LOG_FORMAT": "api_requests", "API_PORT": "0", "INSTANCE": "killed"}
LATER_NAMES_TOO = "app*.log*"

Answer = TypeVar("Answer")

_STORED = """
    SELECT source, customer_id AS file, extract(request_path, '^/seq/([0-9]+)$') AS number
    FROM logs
    UNION ALL
    SELECT
        source,
        extract(raw, '^broken (file[0-9]+) /seq/[0-9]+$'),
        extract(raw, '^broken file[0-9]+ /seq/([0-9]+)$')
    FROM dead_letters
"""

_OF_ONE_FILE = f"""
SELECT count(), uniqExact(toUInt64OrNull(number)) FROM ({_STORED})
WHERE file = {{file:String}} AND toUInt64OrNull(number) < {{lines:UInt64}}
    AND startsWith(source, {{under:String}})
"""

_OF_ALL_FILES = f"SELECT count() FROM ({_STORED}) WHERE startsWith(source, {{under:String}})"


@dataclass(frozen=True)
class Plan:
    """What happens to whom; equal seeds draw equal moments."""

    kills: int
    processes: int = 1
    files: int = 4
    rate: int = 40_000
    rotate_every: float = 4.0
    globs: str = LATER_NAMES_TOO
    gzip: bool = False
    longest_life: float = 2.5
    seed: int = 4
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Tally:
    """Lines that are not stored, rows too many, and rows that are no line that was written."""

    missing: int
    twice: int
    strange: int


@dataclass(frozen=True)
class Outcome:
    """What happened. `stored_by_killed`: lines stored before the last run, which none could end."""

    kills: int
    lines: int
    rotations: int
    stored_by_killed: int
    tally: Tally
    fell: list[str]
    """What processes said that ended before they were killed."""
    warned: str
    """What the last run said."""

    @property
    def is_exact(self) -> bool:
        """Whether every line is stored once, and no process ended by itself."""
        return self.tally == Tally(0, 0, 0) and not self.fell


class Stored(Protocol):
    """What a store holds; Logwax's ledger is not asked."""

    def of_file(self, file: str, lines: int) -> tuple[int, int]:
        """Rows with numbers of a file below `lines`, and how many different numbers."""

    def count(self) -> int:
        """All rows, whatever they hold."""


class InClickHouse:
    """Of a database of ClickHouse, from files below the directory `under`."""

    def __init__(self, client: Client, under: Path | str = "") -> None:
        self._client = client
        self._place = {"under": str(under)}

    def of_file(self, file: str, lines: int) -> tuple[int, int]:
        rows, numbers = _ask(
            self._client, _OF_ONE_FILE, {"file": file, "lines": lines, **self._place}
        )
        return rows, numbers

    def count(self) -> int:
        return _ask(self._client, _OF_ALL_FILES, self._place)[0]


class InFrames:
    """Of rows with `customer_id` and `request_path`, and dead letters with `raw`."""

    def __init__(self, rows: pl.DataFrame, letters: pl.DataFrame) -> None:
        number = "/seq/([0-9]+)$"
        self._found = pl.concat(
            [
                rows.select(
                    pl.col("customer_id").alias("file"),
                    pl.col("request_path").str.extract("^" + number).alias("number"),
                ),
                letters.select(
                    pl.col("raw").str.extract("^broken (file[0-9]+) " + number).alias("file"),
                    pl.col("raw").str.extract("^broken file[0-9]+ " + number).alias("number"),
                ),
            ]
        ).with_columns(pl.col("number").cast(pl.UInt64, strict=False))

    def of_file(self, file: str, lines: int) -> tuple[int, int]:
        numbers = self._found.filter(pl.col("file") == file, pl.col("number") < lines)["number"]
        return len(numbers), numbers.n_unique()

    def count(self) -> int:
        return len(self._found)


def in_influxdb(url: str) -> InFrames:
    """Of the database `logwax` of an InfluxDB 1.x."""
    return InFrames(
        _points(url, 'SELECT "customer_id", "request_path" FROM "api_requests"'),
        _points(url, 'SELECT "raw", "file_id" FROM "dead_letters"'),
    )


def in_sqlite(path: Path) -> InFrames:
    """Of a file of SQLite; whether it is sound is looked at, too."""
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = db.execute("SELECT customer_id, request_path FROM logs").fetchall()
        letters = db.execute("SELECT CAST(raw AS TEXT) FROM dead_letters").fetchall()
    names = {"customer_id": pl.String(), "request_path": pl.String()}
    return InFrames(
        pl.DataFrame(rows, schema=names, orient="row"),
        pl.DataFrame(letters, schema={"raw": pl.String()}, orient="row"),
    )


def in_mongodb(url: str, database: str) -> InFrames:
    """Of a database of MongoDB."""
    with pymongo.MongoClient[Any](url) as client:
        rows = list(client[database].logs.find({}, {"customer_id": 1, "request_path": 1}))
        letters = list(client[database].dead_letters.find({}, {"raw": 1}))
    names = ("customer_id", "request_path")
    return InFrames(
        pl.DataFrame({name: [row[name] for row in rows] for name in names}),
        pl.DataFrame({"raw": [letter["raw"].decode() for letter in letters]}),
    )


def _points(url: str, query: str) -> pl.DataFrame:
    asked = {"db": "logwax", "q": query}
    answer = httpx.get(
        f"{url}/query", params=asked, headers={"Accept": "application/csv"}, timeout=300
    )
    answer.raise_for_status()
    names = {"name", "tags", "time"} | set(re.findall(r'"(\w+)"', query.partition(" FROM ")[0]))
    empty = pl.DataFrame(schema=dict.fromkeys(names, pl.String()))
    return pl.read_csv(answer.content, infer_schema=False) if answer.content.strip() else empty


def tally(stored: Stored, written: Mapping[str, int]) -> Tally:
    """Compare the store with the numbers 0 to n - 1 of each file."""
    missing = twice = known = 0
    for file, lines in written.items():
        rows, numbers = stored.of_file(file, lines)
        missing += lines - numbers
        twice += rows - numbers
        known += rows
    return Tally(missing, twice, stored.count() - known)


def kill_and_count(directory: Path, plan: Plan) -> Outcome:
    """Carry out the plan in an empty directory."""
    (directory / "logs").mkdir(parents=True)
    draw = random.Random(plan.seed)
    settings = {**SETTINGS, **plan.settings, "LOG_PATHS": f"logs/{plan.globs}"}
    with writing(directory / "logs", plan) as writer:
        kills, fell = 0, []
        while kills < plan.kills:
            processes = min(plan.processes, plan.kills - kills)
            fell += _kill(directory, processes, draw, plan.longest_life, settings)
            kills += processes
            assert writer.poll() is None, "the writer ended by itself"
        done = written(writer)
    last = Pipeline(directory, 0)
    process = last.start("-w", "2", FOLLOW="false", **settings)
    try:
        summary, errors = process.communicate(timeout=CATCH_UP_SECONDS)
    finally:
        process.kill()
    if process.returncode:
        fell.append(errors)
    lines = sum(done["lines"].values())
    rest = int(re.findall(r"^lines=(\d+)", summary, re.M)[-1]) if summary else 0
    with stored_by(directory, settings) as stored:
        counted = tally(stored, done["lines"])
    return Outcome(kills, lines, done["rotations"], lines - rest, counted, fell, errors)


@contextmanager
def writing(directory: Path, plan: Plan) -> Iterator[subprocess.Popen[str]]:
    """The rotating writer; `written` stops it and tells what it wrote."""
    command = [sys.executable, "-m", "tests.rotating_writer", str(directory)]
    command += ["--files", str(plan.files), "--rate", str(plan.rate), "--seed", str(plan.seed)]
    command += ["--rotate-every", str(plan.rotate_every), *(["--gzip"] if plan.gzip else [])]
    writer = subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE)
    try:
        yield writer
    finally:
        writer.kill()
        writer.wait()


def written(writer: subprocess.Popen[str]) -> dict[str, Any]:
    """Stop a writer: its `lines` of each file, and how many `rotations` there were."""
    writer.terminate()
    told: dict[str, Any] = json.loads(writer.communicate()[0])
    return told


def _kill(
    directory: Path,
    processes: int,
    draw: random.Random,
    longest_life: float,
    settings: Mapping[str, str],
) -> list[str]:
    """Start so many at once, and kill each at a moment of its own; returns who fell before.

    Lives count from when the first of them reads, however long a busy machine takes to start it.
    """
    # Blocks in doubt are settled by runs with other batch sizes, too.
    running = [
        Pipeline(directory, 0).start(
            "-w", "2", **settings, STREAM_MAX_SIZE=draw.randint(2000, 5000)
        )
        for _ in range(processes)
    ]
    if draw.random() < 0.8:  # the others die while they start
        wait_for(lambda: any(_has_begun(process, directory) for process in running), "a start")
    began = time.monotonic()
    moments = sorted(began + draw.uniform(0, longest_life) for _ in running)
    fell = []
    for process, moment in zip(running, moments, strict=True):
        time.sleep(max(0.0, moment - time.monotonic()))
        has_ended = process.poll() is not None
        process.kill()
        errors = process.communicate()[1]
        if has_ended:
            fell.append(errors or f"exit code {process.returncode}")
    return fell


def _has_begun(process: subprocess.Popen[str], directory: Path) -> bool:
    """Whether it has a log open, or has ended."""
    opened = []
    with suppress(psutil.Error):  # it ends just now
        opened = psutil.Process(process.pid).open_files()
    logs = directory.resolve() / "logs"
    return process.poll() is not None or any(Path(file.path).parent == logs for file in opened)


@contextmanager
def stored_by(
    directory: Path, settings: Mapping[str, str], under: Path | str = ""
) -> Iterator[Stored]:
    """What is stored by pipelines with these settings, in ClickHouse of files below `under`."""
    if settings.get("STORE") == "influxdb":
        yield in_influxdb(settings["INFLUXDB_URL"])
        return
    if settings.get("STORE") == "sqlite":
        yield in_sqlite(directory / "data" / "logwax.sqlite")
        return
    if settings.get("STORE") == "mongodb":
        yield in_mongodb(settings["MONGODB_URL"], settings.get("MONGODB_DATABASE", "logwax"))
        return
    if settings.get("STORE") == "clickhouse":
        address = settings["CLICKHOUSE_URL"].partition("?")[0]
        client = _insist(
            lambda: clickhouse_connect.get_client(dsn=address, send_receive_timeout=30)
        )
    else:
        path = str(directory / "data" / "clickhouse")
        client = clickhouse_connect.get_client(interface="chdb", path=path)
    try:
        yield InClickHouse(client, under)
    finally:
        client.close()


def _ask(client: Client, query: str, parameters: dict[str, object]) -> list[int]:
    return list(_insist(lambda: client.query(query, parameters=parameters)).result_rows[0])


def _insist(attempt: Callable[[], Answer]) -> Answer:
    """What a server with faults answers in the end."""
    for _ in range(20):
        try:
            return attempt()
        except (ClickHouseError, HTTPError, OSError):  # what lasts, the last attempt raises
            time.sleep(0.1)
    return attempt()


def main() -> int:
    """Kill as the arguments say, and print what happened as JSON."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--kills", type=int, default=10)
    arguments.add_argument("--processes", type=int, default=1, help="at once")
    arguments.add_argument("--files", type=int, default=4)
    arguments.add_argument("--rate", type=int, default=40_000, help="lines a second, all files")
    arguments.add_argument("--rotate-every", type=float, default=4.0, help="seconds, on average")
    arguments.add_argument("--globs", default=LATER_NAMES_TOO, help="of the files to read")
    arguments.add_argument("--gzip", action="store_true", help="compress every other rotated file")
    arguments.add_argument("--longest-life", type=float, default=2.5, help="seconds")
    arguments.add_argument("--seed", type=int, default=random.randrange(10**6))
    arguments.add_argument(
        "--store", choices=("embedded", "sqlite", "clickhouse", "influxdb", "mongodb")
    )
    arguments.add_argument("--url", default="", help="of the server")
    arguments.add_argument("--directory", type=Path, help="an empty one, which is kept")
    chosen = vars(arguments.parse_args())
    directory = chosen.pop("directory")
    store, url = chosen.pop("store") or "embedded", chosen.pop("url")
    settings = {"STORE": store, "CLICKHOUSE_URL": url, "INFLUXDB_URL": url, "MONGODB_URL": url}
    plan = Plan(**chosen, settings=settings)
    print(f"seed {plan.seed}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        outcome = kill_and_count(directory or Path(temporary), plan)
    print(json.dumps(asdict(outcome), indent=2))
    return 0 if outcome.is_exact else 1


if __name__ == "__main__":
    sys.exit(main())
