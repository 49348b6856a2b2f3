"""`/pipeline`: a real file source, the parser and a sink into a real store, driven by hand."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import polars as pl

from api.app import Pipeline, create_app
from connectors.batch import Span, Stream, Taken
from connectors.file_rates import SECONDS, FileRates
from connectors.sinks.store_sink import StoreSink
from connectors.status import Status
from connectors.store import Reader, open_store
from flows.parsing.parser import parser
from settings import Settings
from tests.conftest import wait_for
from tests.tailing import Tail, append
from tests.test_logs_api import answer, get

GOOD, BAD = b'{"ts": 1700000000, "msg": "a"}\n', b"no JSON\n"


def test_each_file_is_told_with_how_far_how_fast_and_how_well_it_is_stored(
    tail: Callable[..., Tail], tmp_path: Path
) -> None:
    quiet, busy = tmp_path / "quiet.log", tmp_path / "busy.log"
    quiet.write_bytes(GOOD.replace(b"a", b"b"))
    busy.write_bytes(3 * GOOD + BAD)
    status = Status()
    settings = Settings(_env_file=None, store="sqlite", data_dir=tmp_path / "data")
    with closing(open_store(settings)) as store:
        tailed = tail(tmp_path / "*.log", store)
        sink = StoreSink(store, status).build("write", 0, 1)
        parse = parser("json", "UTC")
        beside = Pipeline(
            status, tailed.source.status, files=tailed.source.files, log_format="json"
        )
        app = create_app(cast(Reader, store.reader), beside)

        def told() -> dict[str, dict[str, Any]]:
            files = answer(app, "/pipeline")["files"]
            return {Path(file["path"]).name: file for file in files}

        def take() -> Taken:
            taken = list[Taken]()
            wait_for(lambda: taken or taken.extend(tailed.partition.next_batch()), "a batch")
            return taken[0]

        first = take()  # of both files
        assert list(told()) == ["busy.log", "quiet.log"]  # the first one is behind
        assert told()["busy.log"]["lag_bytes"] == len(3 * GOOD + BAD)
        assert told()["busy.log"]["dead_letter_share"] is None
        sink.write_batch([parse(first)])
        sink.wait()
        found = told()
        assert found["busy.log"]["lag_bytes"] == found["busy.log"]["lag_seconds"] == 0
        assert found["busy.log"]["dead_letter_share"] == 0.25
        assert found["busy.log"]["lines_per_second"] > 0
        assert found["busy.log"]["format"] == "json"
        assert found["quiet.log"]["dead_letter_share"] == 0
        ids = {row["file_id"] for row in answer(app, "/logs")["rows"]}
        assert ids == {file["file_id"] for file in found.values()}

        append(busy, GOOD)
        tailed.poll_soon()
        taken = take()
        assert told()["busy.log"]["lag_bytes"] == len(GOOD)
        wait_for(lambda: told()["busy.log"]["lag_seconds"] > 0, "a lag")
        sink.write_batch([parse(taken)])
        sink.wait()
        assert told()["busy.log"]["dead_letter_share"] == 0.2
        assert answer(app, "/pipeline", limit=1)["total"] == 2
        assert len(answer(app, "/pipeline", limit=1)["files"]) == 1
        alone = get(create_app(cast(Reader, store.reader)), "/pipeline")
        assert (alone.status_code, alone.json()["detail"][:11]) == (501, "No pipeline")


def test_a_rate_is_that_of_the_last_half_minute(monkeypatch) -> None:
    rates, now = FileRates(), 1000.0
    monkeypatch.setattr("connectors.file_rates.time.monotonic", lambda: now)
    none = pl.DataFrame(schema={"file_id": pl.UInt64})
    for _ in range(600):
        now += 1.0
        rates.add([Span(Stream(1, "a"), 0, 1, 0, 50)], none)
    assert 45 < rates.of(1).rate < 55
    now += 10 * SECONDS
    assert 0 < rates.of(1).rate < 0.01
    assert rates.of(1).lines == 30_000
    assert rates.of(2).rate == 0
