"""Columns on their way into ClickHouse: what comes out of a real engine is what went in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import clickhouse_connect
import polars as pl
import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.sinks.clickhouse.insert import insert_columns

pytestmark = pytest.mark.usefixtures("both_ways")

TYPES = (
    "number UInt64, text String, few LowCardinality(String), raw String, code UInt16, "
    "flag Bool, seconds Float64, time DateTime64(6, 'UTC')"
)
SCHEMA: dict[str, pl.DataType] = {
    "number": pl.UInt64(),
    "text": pl.String(),
    "few": pl.String(),
    "raw": pl.Binary(),
    "code": pl.UInt16(),
    "flag": pl.Boolean(),
    "seconds": pl.Float64(),
    "time": pl.Datetime("us", "UTC"),
}
TEXTS = st.text(st.sampled_from("\0\n'\\ix€😀") | st.characters(exclude_categories=["Cs"]))
MOMENTS = st.datetimes(datetime(1900, 1, 2), datetime(2299, 12, 30))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    path = str(tmp_path_factory.mktemp("clickhouse"))
    client = clickhouse_connect.get_client(interface="chdb", path=path)
    yield client
    client.close()


def stored(client: Client, frame: pl.DataFrame) -> list[tuple[Any, ...]]:
    """What a table holds of the rows that were inserted into it."""
    client.command(f"CREATE OR REPLACE TABLE rows ({TYPES}) ENGINE = Memory")
    insert_columns(client, "rows", frame, {"async_insert": 0})
    return list(
        client.query(
            f"SELECT {', '.join(SCHEMA)} FROM rows ORDER BY number",
            column_formats={"raw": "bytes"},
            tz_mode="aware",
        ).result_rows
    )


def frame(texts: list[str]) -> pl.DataFrame:
    count = len(texts)
    noon = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)
    columns = {
        "number": range(count),
        "text": texts,
        "few": texts,
        "raw": [text.encode() for text in texts],
        "code": [200] * count,
        "flag": [True] * count,
        "seconds": [0.5] * count,
        "time": [noon] * count,
    }
    return pl.DataFrame(columns, schema=SCHEMA)


@given(
    st.lists(
        st.tuples(
            TEXTS,
            TEXTS,
            st.binary(),
            st.integers(0, 2**16 - 1),
            st.booleans(),
            st.floats(allow_nan=False),
            MOMENTS.map(lambda time: time.replace(tzinfo=timezone.utc)),
        ),
        min_size=1,
        max_size=8,
    )
)
@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_every_value_comes_back_as_it_was(client: Client, values: list[tuple[Any, ...]]) -> None:
    rows = [(number, *row) for number, row in enumerate(values)]
    assert stored(client, pl.DataFrame(rows, schema=SCHEMA, orient="row")) == rows


@pytest.mark.parametrize("distinct", [1, 255, 256, 257])
def test_texts_come_back_however_many_of_them_are_equal(client: Client, distinct: int) -> None:
    texts = [f"a text of more than twelve bytes, number {row % distinct}" for row in range(1000)]
    assert [row[1:3] for row in stored(client, frame(texts))] == [(t, t) for t in texts]


def test_texts_that_differ_in_their_middle_are_told_apart(client: Client) -> None:
    texts = [f"the same beginning, {row % 100:03}, the same end" for row in range(1000)]
    assert [row[2] for row in stored(client, frame(texts))] == texts


@pytest.mark.parametrize("size", [12, 13, 127, 128, 16_384, 3_000_000])
def test_texts_come_back_at_any_length(client: Client, size: int) -> None:
    texts = ["", "x" * size, "y" * (size - 1)] + [f"{row}" for row in range(300)]
    assert [row[1] for row in stored(client, frame(texts))] == texts


def test_a_part_of_the_rows_is_inserted_alone(client: Client) -> None:
    texts = [f"text number {row} of them all" for row in range(600)]
    assert [row[1] for row in stored(client, frame(texts)[200:500])] == texts[200:500]


def test_what_is_sent_does_not_grow_with_the_texts_beside_it(client: Client) -> None:
    long = pl.Series(["x" * 100_000 + "number " + str(row) for row in range(300)])
    rows = frame(["a"] * 300).with_columns(text=long.str.slice(100_000), few=long.str.slice(99_990))
    sizes: list[int] = []

    class Counting:
        def raw_insert(self, table: str, names: list[str], data: bytes, **options: Any) -> None:
            sizes.append(len(data))

    insert_columns(Counting(), "rows", rows, {})  # type: ignore[arg-type]
    assert sizes[0] < 100_000
