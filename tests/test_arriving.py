"""Answers about rows while others arrive: all agree on what is complete, and none misses a row."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest
from hypothesis import given, settings

from api.app import Pipeline as Beside
from api.app import create_app
from connectors.batch import COLUMNS, Parsed
from connectors.filters import parse
from connectors.sinks.store_sink import StoreSink
from connectors.status import SourceStatus, Status
from connectors.store import Reader
from tests.conftest import DEADLINE, wait_for
from tests.test_clickhouse_store import span
from tests.test_logs_api import START, answer, filters, get, open_made, pages, row, takes
from tests.test_tail import SCHEMA, Stored, rows_of

ASKED = 500
"""Rows of the range that is asked for."""


class Arriving:
    """A store into which a sink writes on and on, a row a millisecond by their times."""

    def __init__(self, name: str, directory: Path, of_batch: int, pause: float) -> None:
        self.store = open_made(name, directory)
        self.acknowledged: list[dict[str, Any]] = []
        status = Status()
        beside = Beside(status, SourceStatus, sees_writes=True)
        self.app = create_app(cast(Reader, self.store.reader), beside)
        self._sink = StoreSink(self.store, status).build("sink", 0, 1)
        self._of_batch, self._pause = of_batch, pause
        self._ended = threading.Event()
        self._writing = threading.Thread(target=self._write)
        self._writing.start()

    def close(self) -> None:
        self._ended.set()
        self._writing.join(DEADLINE)
        self._sink.close()
        self.store.close()

    def _write(self) -> None:
        while not self._ended.wait(self._pause):
            first = len(self.acknowledged)
            last = first + self._of_batch
            rows = [
                {**row(n), "offset": n, "timestamp": START + timedelta(milliseconds=n)}
                for n in range(first, last)
            ]
            frame = pl.DataFrame(rows, {name: COLUMNS[name] for name in rows[0]})
            self._sink.write_batch([Parsed((span(first, last),), rows=frame)])
            self._sink.wait()
            self.acknowledged += rows


@pytest.fixture(params=["embedded", "sqlite"])
def arriving(request: pytest.FixtureRequest, tmp_path: Path, soak: bool) -> Iterator[Arriving]:
    with closing(Arriving(request.param, tmp_path, 1000 if soak else 60, 0.05)) as made:
        yield made


def test_list_histogram_facets_export_and_sql_agree_while_rows_arrive(
    arriving: Arriving, soak: bool
) -> None:
    app, accounts = arriving.app, arriving.store.accounts()
    assert accounts

    @settings(max_examples=300 if soak else 8)
    @given(filter_=filters)
    def agree(filter_: str) -> None:
        before = len(arriving.acknowledged)
        wait_for(lambda: len(arriving.acknowledged) > before, "others to arrive")
        stored = arriving.acknowledged[-ASKED:]
        first, end = stored[0]["timestamp"], stored[-1]["timestamp"] + timedelta(microseconds=1)
        span_ = {"from": first.isoformat(), "to": end.isoformat()}
        asked = {**span_, "filter": filter_}
        taken = [one for one in stored if takes(parse(filter_, COLUMNS), one)]
        places = [one["offset"] for one in taken]
        listed = [
            one["offset"] for page in pages(app, order="oldest", limit=100, **asked) for one in page
        ]
        assert listed == places
        exported = get(app, "/logs/export", format="ndjson", order="oldest", **asked)
        assert [json.loads(one)["offset"] for one in exported.text.splitlines()] == places
        histogram = answer(app, "/logs/histogram", **asked)
        counts = [Counter(bucket["counts"]) for bucket in histogram["buckets"]]
        levels = Counter(one["level"] for one in taken)
        assert (sum(counts, Counter()), histogram["total"]) == (levels, len(taken))
        facets = answer(app, "/logs/facets", columns="level", **asked)
        values = {one["value"]: one["count"] for one in facets["facets"]["level"]["values"]}
        assert (values, facets["total"]) == (levels, len(taken))
        sql = (
            f'SELECT level, count(*) FROM logs WHERE "offset" >= {stored[0]["offset"]} '
            f'AND "offset" <= {stored[-1]["offset"]} GROUP BY level'
        )
        assert dict(accounts.select(sql, 10).rows) == Counter(one["level"] for one in stored)
        assert len(arriving.acknowledged) > before

    agree()


FILTERS = ("level = ERROR and not status_code = 404", "attr.user = 7", "say", "duration > 1")
BATCH = 3600


def test_filtered_listeners_are_told_just_what_is_stored(tmp_path: Path, soak: bool) -> None:
    expected = {
        one: [n for n in range(BATCH) if takes(parse(one, SCHEMA), row(n))] for one in FILTERS
    }
    batches = 280 if soak else 2  # a million rows
    with closing(Stored(tmp_path)) as stored, ExitStack() as ended:
        told = {one: ended.enter_context(stored.told(one)) for one in FILTERS}
        for events in told.values():
            next(events)
        for batch in range(batches):
            stored.add(BATCH)
            for one, events in told.items():
                places = [found["offset"] for found in rows_of(events, len(expected[one]))]
                assert places == [batch * BATCH + n for n in expected[one]]
        for one in FILTERS:
            asked = {"from": "2024-01-01", "to": "2024-01-02", "format": "arrow", "filter": one}
            found = pl.read_ipc_stream(get(stored.app, "/logs/export", **asked).content)
            assert len(found) == len(expected[one]) * batches
            assert found["offset"].is_unique().all()
