"""Line protocol: the text of rows and points, and what a real InfluxDB makes of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from connectors.batch import COLUMNS
from connectors.sinks.influxdb.line_protocol import MEASUREMENT, encode, point
from tests.servers.influxd import Influxd

pytestmark = pytest.mark.usefixtures("both_ways")

TAGS = ("customer_id", "method", "status_class", "success")
TEXTS = [name for name, dtype in COLUMNS.items() if dtype == pl.String]
NOON = datetime(2026, 11, 22, 12, 0, 0, 123_456, tzinfo=timezone.utc)
NOON_MS = 1_795_348_800_123
HOSTILE = st.text(
    st.sampled_from(",= \"\\\n\r\t\0'#ix€😀") | st.characters(exclude_categories=["Cs", "Cn"]),
    max_size=12,
)


def rows(**columns: list[Any]) -> pl.DataFrame:
    """Rows with these columns, of one file and one moment where nothing else is said."""
    count = len(next(iter(columns.values())))
    given = {
        "timestamp": [NOON] * count,
        "file_id": [7] * count,
        "line": list(range(count)),
        **columns,
    }
    return pl.DataFrame(given, schema={name: COLUMNS[name] for name in given})


def body(frame: pl.DataFrame, *arguments: Any) -> bytes:
    """All lines of the rows."""
    encoded = encode(frame, *arguments)
    assert len(encoded) == len(frame)
    return bytes(encoded.between(0, len(encoded)))


def one(tags: Sequence[str] = TAGS, **columns: Any) -> str:
    """The line of one row, without its end."""
    line = body(rows(**{name: [value] for name, value in columns.items()}), tags).decode()
    return line.removesuffix("\n")


# --- the text of rows -------------------------------------------------------------------------


def test_a_row_is_a_point_with_tags_in_the_order_of_their_names() -> None:
    assert one(
        success=True,
        method="GET",
        customer_id="cust_1",
        status_code=200,
        duration=0.5,
        request_path="/a",
        offset=512,
        line=3,
    ) == (
        f"{MEASUREMENT},customer_id=cust_1,file_id=7,method=GET,success=true "
        'request_path="/a",status_code=200i,duration=0.5,offset=512i,'
        f"event_time=1795348800123456i {NOON_MS}000003"
    )


def test_no_rows_are_no_lines() -> None:
    assert body(rows(customer_id=[]), TAGS) == b""


def test_the_nanoseconds_are_the_number_of_the_line_modulo_a_million() -> None:
    assert one(line=12_999_999).endswith(f" {NOON_MS}999999")
    assert one(line=13_000_000).endswith(f" {NOON_MS}000000")


def test_a_time_before_1970_is_cut_to_the_millisecond_before_it() -> None:
    before = datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone.utc)
    assert one(timestamp=before, line=5).endswith("event_time=-1i -999995")


def test_a_time_beyond_nanoseconds_is_written_as_it_is_for_the_server_to_refuse() -> None:
    late = datetime(2299, 1, 1, tzinfo=timezone.utc)
    assert one(timestamp=late, line=5).endswith(" 10382256000000000005")


def test_a_success_that_is_no_tag_is_a_boolean() -> None:
    assert " success=false,event_time=" in one((), success=False)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("a,b", r"a\,b"),
        ("a=b", r"a\=b"),
        ("a b", r"a\ b"),
        ('a"b', 'a"b'),
        (r"a\b", r"a\b"),
        ("€😀", "€😀"),
        ("x" * 4096, "x" * 4096),
        (" " * 2048, r"\ " * 2048),
    ],
)
def test_a_tag_is_escaped(value: str, written: str) -> None:
    assert one(customer_id=value).startswith(f"{MEASUREMENT},customer_id={written},file_id=7 event")


@pytest.mark.parametrize(
    "value",
    [
        *("\n", "a\nb", "\t", "\0", "\x7f", "\u200b"),
        *("a\\", "\\", "a\\,b", "a\\=b", "a\\ b", "a\\\\b"),
        *("x" * 4097, " " * 2049),
    ],
    ids=ascii,
)
def test_text_that_can_be_no_tag_is_a_field(value: str) -> None:
    escaped = value.replace("\\", "\\\\")
    assert f'{MEASUREMENT},file_id=7 customer_id_text="{escaped}",event_time=' in one(
        customer_id=value
    )


def test_whether_a_text_is_a_tag_does_not_depend_on_the_other_rows() -> None:
    new = "\U0001fae8"  # of Unicode 15, which not every Python knows
    repeated = body(rows(customer_id=[new] * 3), TAGS).splitlines()[0]
    among_others = body(rows(customer_id=[new, "a", "b"]), TAGS).splitlines()[0]
    assert repeated == among_others


def test_empty_text_is_left_out() -> None:
    assert one(customer_id="", message="").startswith(f"{MEASUREMENT},file_id=7 event_time=")


def test_null_is_left_out() -> None:
    line = one(customer_id=None, message=None, duration=None, status_code=None)
    assert line.startswith(f"{MEASUREMENT},file_id=7 event_time=")


def test_quotes_and_backslashes_in_a_field_are_escaped() -> None:
    assert r'message="\"a\\b\\\"",' in one(message='"a\\b\\"')


def test_a_demoted_tag_is_a_field_in_every_row() -> None:
    demoted = body(rows(customer_id=["a", "b c", ""]), TAGS, {"customer_id"}).decode()
    assert [line.partition("event_time")[0] for line in demoted.splitlines()] == [
        f'{MEASUREMENT},file_id=7 customer_id_text="a",',
        f'{MEASUREMENT},file_id=7 customer_id_text="b c",',
        f"{MEASUREMENT},file_id=7 ",
    ]


def test_a_whole_number_beyond_63_bits_is_text() -> None:
    assert "bytes_sent=9223372036854775807i," in one(bytes_sent=2**63 - 1)
    assert 'bytes_sent_text="18446744073709551615",' in one(bytes_sent=2**64 - 1)


def test_a_number_without_end_is_text() -> None:
    assert 'duration_text="inf",' in one(duration=math.inf)


def test_a_duration_that_is_none_is_left_out() -> None:
    assert one(duration=math.nan) == one(duration=None)
    assert b"duration" not in body(rows(duration=[math.nan, math.nan]), TAGS)
    first, second = body(rows(duration=[math.nan, 0.0]), TAGS).splitlines()
    assert b"duration" not in first
    assert b"duration=0.0," in second


# --- rows as columns, and point by point ------------------------------------------------------

ROW = st.fixed_dictionaries(
    {
        "customer_id": HOSTILE,
        "method": st.sampled_from(["GET", "POST", ""]),
        "success": st.booleans(),
        "message": HOSTILE,
        "status_code": st.integers(0, 65_535),
        "bytes_sent": st.integers(0, 2**64 - 1),
        "duration": st.sampled_from([0.0, 0.5, 1234.25]),  # others have two spellings
        "timestamp": st.datetimes(
            datetime(1900, 1, 1), datetime(2262, 1, 1), timezones=st.just(timezone.utc)
        ),
        "line": st.integers(0, 2**64 - 1),
    }
)


@given(st.lists(ROW, min_size=1, max_size=30), st.integers(1, 60))
def test_rows_are_the_lines_of_their_points(some: list[dict[str, Any]], repeated: int) -> None:
    frame = rows(**{name: [row[name] for row in some] * repeated for name in some[0]})
    epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)

    def expected(row: dict[str, Any]) -> str:
        micros = (row["timestamp"] - epoch) // (datetime.resolution)
        tags = {"file_id": "7", **{name: row[name] for name in ("customer_id", "method")}}
        tags["success"] = str(row["success"]).lower()
        fields = {name: row[name] for name in COLUMNS if name in row and name not in tags}
        del fields["timestamp"], fields["line"]
        fields["event_time"] = micros
        time = micros // 1000 * 1_000_000 + row["line"] % 1_000_000
        return point(MEASUREMENT, tags, fields, time).decode()

    assert body(frame, TAGS).decode() == "".join(map(expected, some)) * repeated


@given(st.lists(HOSTILE, min_size=2, max_size=30), st.data())
def test_a_slice_of_rows_gives_the_very_same_lines(texts: list[str], data: st.DataObject) -> None:
    columns = {"customer_id": texts, "method": texts, "message": texts, "host": texts[::-1]}
    frame = rows(**{name: values * 40 for name, values in columns.items()})
    first = data.draw(st.integers(0, len(frame)))
    last = data.draw(st.integers(first, len(frame)))
    assert body(frame[first:last], TAGS) == encode(frame, TAGS).between(first, last)


# --- a real server ----------------------------------------------------------------------------


def stored(server: Influxd, measurement: str = MEASUREMENT) -> list[dict[str, Any]]:
    """All points, by their times."""
    found = server.query(f'SELECT * FROM "{measurement}"')
    return [
        dict(zip(series["columns"], values, strict=True))
        for series in found
        for values in series["values"]
    ]


def text_of(row: dict[str, Any], name: str) -> str:
    """What a reader makes of a text column."""
    return row.get(name) or row.get(f"{name}_text") or ""


@pytest.mark.parametrize("tags", [[name for name in TEXTS if name != "attributes"], []])
def test_hostile_text_comes_back_byte_for_byte_in_every_column(
    influxd: Influxd, soak: bool, tags: list[str]
) -> None:
    @settings(
        max_examples=1000 if soak else 40, suppress_health_check=list(HealthCheck), deadline=None
    )
    @given(st.lists(HOSTILE | HOSTILE.map(lambda text: f"{text}\\"), min_size=20, max_size=120))
    @example(
        ["", ",", "=", " ", '"', "\\", "\n", "\r", "\0", "😀", "\\\\", '\\"', "a\\", '"\\', "#"]
    )
    @example(
        ["x" * 65_536, "\\" * 65_536, '"' * 65_535, "\n" * 65_536, "😀" * 16_384, " " * 65_536]
    )
    def check(texts: list[str]) -> None:
        # Every text is in every column once, beside others.
        frame = rows(
            offset=list(range(len(texts))),
            **{name: texts[turn:] + texts[:turn] for turn, name in enumerate(TEXTS)},
        )
        influxd.query(f'DROP MEASUREMENT "{MEASUREMENT}"')
        influxd.write(body(frame, tags))
        found = sorted(stored(influxd), key=lambda row: int(row["offset"]))
        assert len(found) == len(texts)
        for name in TEXTS:
            assert [text_of(row, name) for row in found] == frame[name].to_list()

    check()


@settings(max_examples=20, suppress_health_check=list(HealthCheck), deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0, allow_nan=False, allow_infinity=False),
            st.integers(0, 2**64 - 1) | st.sampled_from([2**63 - 1, 2**63]),
            st.booleans(),
            st.datetimes(datetime(1900, 1, 1), datetime(2262, 4, 11)),
        ),
        min_size=10,
        max_size=100,
    )
)
def test_numbers_and_times_come_back_exactly(
    influxd: Influxd, some: list[tuple[float, int, bool, datetime]]
) -> None:
    durations, sizes, successes, times = map(list, zip(*some, strict=True))
    frame = rows(
        duration=durations,
        bytes_sent=sizes,
        success=successes,
        timestamp=[time.replace(tzinfo=timezone.utc) for time in times],
    )
    influxd.query(f'DROP MEASUREMENT "{MEASUREMENT}"')
    influxd.write(body(frame, ()))
    found = sorted(stored(influxd), key=lambda row: int(row["time"]) % 1_000_000)
    assert [float(row["duration"]) for row in found] == durations
    assert [row.get("bytes_sent") or int(row.get("bytes_sent_text") or 0) for row in found] == sizes
    assert [row["success"] for row in found] == successes
    assert [row["event_time"] for row in found] == frame["timestamp"].to_physical().to_list()


def test_100_000_rows_of_one_moment_in_one_series_are_as_many_points_also_when_written_again(
    influxd: Influxd,
) -> None:
    count = 100_000
    frame = rows(customer_id=["cust_1"] * count, offset=list(range(count)))
    for _ in range(2):
        influxd.write(body(frame, TAGS))
        [series] = influxd.query(f'SELECT COUNT("offset") FROM "{MEASUREMENT}"')
        assert series["values"][0][1] == count


def test_the_server_refuses_a_time_beyond_nanoseconds_and_nothing_else(influxd: Influxd) -> None:
    late = datetime(2299, 1, 1, tzinfo=timezone.utc)
    with pytest.raises(AssertionError, match="partial write: unable to parse"):
        influxd.write(body(rows(timestamp=[NOON, late, NOON]), TAGS))
    assert len(stored(influxd)) == 2


@settings(max_examples=30, suppress_health_check=list(HealthCheck), deadline=None)
@given(
    st.lists(
        st.tuples(HOSTILE, HOSTILE, st.integers(-(2**63) + 1, 2**64), st.floats(), st.booleans()),
        min_size=1,
        max_size=50,
    )
)
def test_points_come_back_as_they_were(
    influxd: Influxd, some: list[tuple[str, str, int, float, bool]]
) -> None:
    influxd.query("DROP MEASUREMENT m")
    influxd.write(
        b"".join(
            point("m", {"tag": tag}, {"text": text, "int": i, "float": f, "bool": b}, time)
            for time, (tag, text, i, f, b) in enumerate(some)
        )
    )
    found = stored(influxd, "m")
    assert [text_of(row, "tag") for row in found] == [tag for tag, *_ in some]
    assert [row.get("text") or "" for row in found] == [text for _, text, *_ in some]
    assert [row["bool"] for row in found] == [row[4] for row in some]
    for row, (_, _, i, f, _) in zip(found, some, strict=True):
        assert int(row["int_text"] if row.get("int") is None else row["int"]) == i
        number = row.get("float_text") if row.get("float") is None else row["float"]
        assert repr(float(number) + 0.0) == repr(f + 0.0)  # 0 has no sign there
