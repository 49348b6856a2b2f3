"""The tables in ClickHouse: made where they are missing, and checked where they are not."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import polars as pl
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from connectors.batch import COLUMNS, ENRICHED, columns_with
from connectors.errors import StoreError
from connectors.saying import say
from connectors.sinks.clickhouse import EVENT_LOG
from connectors.sinks.clickhouse.errors import reason
from connectors.sinks.clickhouse.insert import check_insert
from connectors.sinks.clickhouse.otel import make_view
from connectors.sinks.sql import DEAD_LETTERS, LEDGER
from logwax_capture.outbox.clickhouse import EVENT_LOG as EVENT_LOG_DDL

_DURABLE = ", ".join(
    [
        # Tokens are forgotten beyond the window; only blocks in doubt are repeated, so it is ample.
        "non_replicated_deduplication_window = 10000",
        "fsync_after_insert = 1",
        "fsync_part_directory = 1",
        # A fresh part in one file instead of fifty: a third less CPU time for an insert.
        "min_bytes_for_wide_part = 268435456",
    ]
)

MICROSECONDS = "toUnixTimestamp64Micro(timestamp)"
"""The time of a row in microseconds since 1970."""

REQUEST = "ifNull(status_code, 0) > 0"  # fits a column that is made Nullable, too
"""What makes a row a request: it has a status."""


class Projected(NamedTuple):
    """Names of the projections of statistics, and how these count requests that have a duration."""

    by_day: str
    by_customer: str
    measured: str

    @property
    def made(self) -> dict[str, str]:
        """What statistics need of a day, for everybody and for each customer.

        It is there with the part, or not at all. The figures are those of the query in
        `clickhouse_reader`, word by word.
        """
        day = "toDate32(timestamp, 'UTC')"
        figures = (
            *(day, "count()", f"countIf({REQUEST})", f"countIf(success AND {REQUEST})"),
            *(self.measured, f"sumIf(duration, {REQUEST})"),
            f"quantilesTDigestStateIf(0.5, 0.99)(duration, {REQUEST})",
        )
        selected = ",\n            ".join(dict.fromkeys(figures))
        return {
            self.by_day: f"""PROJECTION {self.by_day} (
        SELECT {selected}
        GROUP BY {day})""",
            self.by_customer: f"""PROJECTION {self.by_customer} (
        SELECT customer_id, {selected}
        GROUP BY customer_id, {day}){_SMALL_GRANULES}""",
        }


_SMALL_GRANULES = " WITH SETTINGS (index_granularity = 256)"  # one customer's states: 1/30 to read

PROJECTED = Projected(
    "figures_by_day", "figures_by_customer", f"countIf(duration IS NOT NULL AND {REQUEST})"
)
"""Those of tables in which a duration may be null."""

FORMER = Projected("requests_by_day", "requests_by_customer", f"countIf({REQUEST})")
"""Those of tables of earlier versions, in which each request has one: 0 if it is missing."""

PIECE = 300_000_000
"""Microseconds of a piece of time: how many rows each has is counted when they are inserted."""

PIECE_OF_ROW = f"{MICROSECONDS} - positiveModulo({MICROSECONDS}, {PIECE})"
"""Where the piece of time of a row begins, in microseconds since 1970."""

COUNTS = "rows_by_time"
"""The projection that has the rows of each piece of time, by `COUNTED`."""

COUNTED = ("level", "status_class")

# The table itself is in the order of time: here are a customer's rows together.
_OF_TIMES = {
    "requests_of_customer": """PROJECTION requests_of_customer (
        SELECT customer_id, timestamp, status_code, success, duration
        ORDER BY customer_id, timestamp)""",
    COUNTS: f"""PROJECTION {COUNTS} (
        SELECT {PIECE_OF_ROW}, {", ".join(COUNTED)}, count()
        GROUP BY {PIECE_OF_ROW}, {", ".join(COUNTED)})""",
}
_PROJECTIONS = ",\n    ".join((*PROJECTED.made.values(), *_OF_TIMES.values()))

FORMER_ORDER = "customer_id, timestamp"
_FORMER_PROJECTIONS = ("daily", "daily_by_customer")  # of all rows, requests or not

_LATER = {"alter_sync": 0, "mutations_sync": 0}  # a start does not wait for old parts

# Without it, nobody could `DELETE FROM` a table that has a projection.
_REBUILD = "lightweight_mutation_projection_mode = 'rebuild'"

# To merge a line costs as much as to insert it, and by default it is merged again and again.
_LAZY = "min_parts_to_merge_at_once = 50"

# Of a few rows here and there, as the newest are in parts that are not merged, half as much is read
# as with granules of 8192.
_GRANULES = "index_granularity = 2048"

# Merges would count the values of each column, for plans that our questions do not need: 3 % of
# the CPU time of a line.
_UNCOUNTED = ", auto_statistics_types = ''"

# Else the merges of fresh parts take larger ones with them, again and again. Not on servers: what
# they hold may be too much for parts of half a gigabyte, of which there must be no more than 3000.
_MERGE_ONCE = "max_bytes_to_merge_at_max_space_in_pool = 536870912"

# A setting that came with the granules of projections, and after statistics of all columns.
_KNOWS_GRANULES = """
SELECT count() FROM system.merge_tree_settings WHERE name = 'materialize_projections_on_merge'
"""

LOGS_TABLE = f"""
CREATE TABLE IF NOT EXISTS {{table:Identifier}} (
    timestamp DateTime64(6, 'UTC'),
    customer_id String,
    method LowCardinality(String),
    request_path String,
    endpoint LowCardinality(String),
    status_code UInt16,
    status_class LowCardinality(String),
    success Bool,
    duration Nullable(Float64),
    client_ip String,
    user_agent LowCardinality(String),
    referer String,
    bytes_sent UInt64,
    level LowCardinality(String),
    message String,
    host LowCardinality(String),
    source LowCardinality(String),
    attributes String DEFAULT '{{}}',
    file_id UInt64,
    offset UInt64,
    ingested_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC'),
    {_PROJECTIONS}
) ENGINE = MergeTree ORDER BY timestamp
SETTINGS {_GRANULES}, {_REBUILD}, {_LAZY}{_UNCOUNTED}, """

_OF_ENRICHERS = {
    pl.String(): "LowCardinality(String)",
    pl.Boolean(): "Bool",
    pl.Float64(): "Float64",
    pl.UInt32(): "UInt32",
}

# That of `logwax_capture.outbox`, which writes into it, too.
EVENT_LOG_TABLE = EVENT_LOG_DDL.partition("SETTINGS")[0] + "SETTINGS "

DEAD_LETTERS_TABLE = f"""
CREATE TABLE IF NOT EXISTS {DEAD_LETTERS} (
    file_id UInt64,
    offset UInt64,
    source LowCardinality(String),
    raw String,
    reason LowCardinality(String),
    detail String,
    seen_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
) ENGINE = MergeTree ORDER BY (file_id, offset) SETTINGS """

_LEDGER_TABLE = f"""
CREATE TABLE IF NOT EXISTS {LEDGER} (
    instance String,
    writer UInt64,
    sequence UInt64,
    kind Enum8('block' = 1, 'stored' = 2, 'position' = 3, 'gone' = 4),
    stream LowCardinality(String) DEFAULT 'file',
    file_id UInt64,
    path String,
    start UInt64,
    end UInt64,
    first_line UInt64,
    lines UInt64,
    proof String,
    recorded_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
) ENGINE = MergeTree ORDER BY (instance, file_id, end) SETTINGS """

# What ledgers of the first version lack.
_LEDGER_ADDITIONS = f"""
ALTER TABLE {LEDGER} ADD COLUMN IF NOT EXISTS content_hash UInt64 AFTER lines,
    MODIFY COLUMN kind Enum8('block' = 1, 'stored' = 2, 'position' = 3, 'gone' = 4)
"""

# What ledgers of files only lack: there, five columns are the proof.
_STREAM_ADDITIONS = f"""
ALTER TABLE {LEDGER} ADD COLUMN IF NOT EXISTS stream LowCardinality(String) DEFAULT 'file',
    ADD COLUMN IF NOT EXISTS proof String DEFAULT
        concatWithSeparator(' ', inode, head_length, head_hash, tail_hash, content_hash)
"""

# Types that take every value unchanged, or refuse it aloud: others cut or wrap it in silence.
_HARMLESS = {
    "DateTime64(6, 'UTC')": r"DateTime64\([678](, '[^']*')?\)",
    "String": r"Enum(8|16)\(.*\)",
    "UInt16": r"UInt(32|64)|Int(32|64)",
    "Bool": "UInt8",
}

# The engines that keep every line and know a token again: the setting, and its default.
_KEEPING = {
    "MergeTree": ("non_replicated_deduplication_window", 0),
    "ReplicatedMergeTree": ("replicated_deduplication_window", 1000),
    "SharedMergeTree": ("replicated_deduplication_window", 1000),
}

_COLUMNS = """
SELECT table, name, type FROM system.columns
WHERE database = currentDatabase() AND table IN {tables:Array(String)}
"""

_ENGINE = """
SELECT engine, create_table_query, sorting_key FROM system.tables
WHERE database = currentDatabase() AND name = {table:String}
"""


def prepare_tables(
    client: Client,
    logs: str,
    *,
    is_shared: bool,
    enrichers: Iterable[str] = (),
    unasked: Collection[str] = (),
) -> list[str]:
    """Make the tables that are missing; `logs` is the name of the table of lines.

    It needs the columns of these `enrichers`, those that are `unasked` excepted: returns what it
    lacks of these.

    Beside the table of lines comes a view with OpenTelemetry's columns, if the user may make one.
    Where nobody else inserts (not `is_shared`), what has been merged is left alone soon, and
    columns that are missing are added.

    Raises `StoreError` if one cannot be made, is of an engine that does not keep every line, lacks
    a column, has one that would change values, or must not be written and read by this user. Other
    columns are left alone.
    """
    tables = {
        logs: EVENT_LOG_TABLE if logs == EVENT_LOG else logs_table(enrichers),
        DEAD_LETTERS: DEAD_LETTERS_TABLE,
        LEDGER: _LEDGER_TABLE,
    }
    lacking: list[str] = []
    try:
        found: dict[str, dict[str, str]] = {}
        for table, name, type_ in client.query(_COLUMNS, {"tables": list(tables)}).result_rows:
            found.setdefault(table, {})[name] = type_
        for table, ddl in tables.items():
            if table not in found:
                more = "" if is_shared or table != logs else f"{_MERGE_ONCE}, "
                client.command(_as_known(client, ddl) + more + _DURABLE, {"table": table})
                continue
            made = _check_engine(client, table, may_choose=table == logs)
            columns = columns_of(ddl)
            if table == logs and is_shared:
                lacking = _lacking(logs, columns, found[logs], unasked)
                columns = {name: columns[name] for name in columns if name not in lacking}
            if table == LEDGER and "proof" not in found[table]:
                if found[table].get("kind") != columns["kind"]:
                    client.command(_LEDGER_ADDITIONS)
                client.command(_STREAM_ADDITIONS)
            else:
                if not is_shared and (missing := _missing(columns, found[table])):
                    client.command(f"ALTER TABLE {table} {missing}")
                    found[table] = {**columns, **found[table]}
                _check_columns(table, columns, found[table])
                if table == logs != EVENT_LOG:
                    _add_projections(client, table, made, found[table]["duration"])
            # Whether this user may do what is going to be done.
            check_insert(client, table, columns)
        if logs != EVENT_LOG:
            make_view(client, logs)
    except ClickHouseError as error:
        raise StoreError(f"ClickHouse could not make its tables: {reason(error)}") from error
    return lacking


def _lacking(
    table: str, wanted: Mapping[str, str], found: Mapping[str, str], unasked: Iterable[str]
) -> list[str]:
    """Columns of these enrichers that the table lacks; says how to add them."""
    lacking = [
        name for one in unasked for name in ENRICHED[one] if name in wanted and name not in found
    ]
    if lacking:
        missing = _missing({name: wanted[name] for name in lacking}, found)
        say(
            f"The table {table} has no columns for {', '.join(unasked)}, so these are left out. "
            f"To add them: ALTER TABLE {table} {missing}"
        )
    return lacking


def logs_table(enrichers: Iterable[str]) -> str:
    """The statement that makes the table of lines, with the columns of these enrichers."""
    more = "".join(
        f",\n    {name} {_OF_ENRICHERS[dtype]}"
        for name, dtype in columns_with(enrichers).items()
        if name not in COLUMNS
    )
    return LOGS_TABLE.replace("\n) ENGINE", f"{more}\n) ENGINE")


def columns_of(ddl: str) -> dict[str, str]:
    """The names and types of the columns that a statement makes."""
    return dict(
        re.findall(r"^    (?!PROJECTION|INDEX)(\w+) (.+?)(?: DEFAULT .*?)?,?$", ddl, re.MULTILINE)
    )


def is_nullable(type_: str) -> bool:
    """Whether a column of this type holds null."""
    return type_.startswith("Nullable(")


def _missing(wanted: Mapping[str, str], found: Mapping[str, str]) -> str:
    """What adds the columns that are missing."""
    return ", ".join(f"ADD COLUMN {name} {wanted[name]}" for name in wanted if name not in found)


def _check_columns(table: str, wanted: Mapping[str, str], found: Mapping[str, str]) -> None:
    if missing := _missing(wanted, found):
        names = ", ".join(name for name in wanted if name not in found)
        raise StoreError(
            f"The table {table} lacks columns: {names}. To add them: ALTER TABLE {table} {missing}"
        )
    for name, type_ in wanted.items():
        if not _is_harmless(type_, found[name]):
            raise StoreError(
                f"The column {name} of the table {table} is of type {found[name]}, in which "
                "not every value keeps. "
                f"To change it: ALTER TABLE {table} MODIFY COLUMN {name} {type_}"
            )


def _is_harmless(wanted: str, found: str) -> bool:
    wanted, found = _bare(wanted), _bare(found)
    return found == wanted or re.fullmatch(_HARMLESS.get(wanted, "$^"), found) is not None


def _bare(type_: str) -> str:
    while inner := re.fullmatch(r"(?:LowCardinality|Nullable)\((.*)\)", type_):
        type_ = inner[1]
    return type_


def _check_engine(client: Client, table: str, *, may_choose: bool) -> str:
    ((engine, made, order),) = client.query(_ENGINE, {"table": table}).result_rows
    if engine not in _KEEPING:
        why = (
            "lines that are alike in some columns become one there, or none"
            if engine.endswith("MergeTree")
            else "only a MergeTree table can tell that an insert came twice"
        )
        raise StoreError(
            f"The table {table} is of engine {engine}: {why}. "
            f"Rename it{', or choose another CLICKHOUSE_TABLE' if may_choose else ''}."
        )
    setting, by_default = _KEEPING[engine]
    window = re.search(rf"\b{setting} = (\d+)", made)
    if not int(window[1] if window else by_default):
        raise StoreError(
            f"The table {table} would not notice that an insert came twice. To change it: ALTER "
            f"TABLE {table} MODIFY SETTING {setting} = 10000"
        )
    if order == FORMER_ORDER:
        say(
            f"The table {table} is sorted as earlier versions did it. All goes on; questions about "
            'a time take longer than they would. docs/operations.md, "Tables of earlier '
            'versions", has the statements that make it new.'
        )
    return str(made)


def _add_projections(client: Client, table: str, made: str, duration: str) -> None:
    """To a table of an earlier version, or of somebody else; of parts to come only.

    Where they replace those of an earlier version, the other parts get them in the background. They
    are those for the type of the column `duration`.
    """
    wanted, replaced = PROJECTED.made, (*_FORMER_PROJECTIONS, *FORMER.made)
    if not is_nullable(duration):
        wanted, replaced = FORMER.made, _FORMER_PROJECTIONS
        say(
            f"In the table {table} a duration that is missing is 0, as in earlier versions. All "
            'goes on; averages and percentiles count it. docs/operations.md, "Tables of earlier '
            'versions", has the statement that makes it null.'
        )
    missing = [name for name in wanted if f"PROJECTION {name} " not in made]
    former = [name for name in replaced if f"PROJECTION {name} " in made]
    changes = [f"ADD {wanted[name]}" for name in missing]
    changes += [f"DROP PROJECTION IF EXISTS {name}" for name in former]
    if former:
        changes += [f"MATERIALIZE PROJECTION {name}" for name in missing]
    if not changes:
        return
    try:
        for change in (f"MODIFY SETTING {_REBUILD}", *changes):
            change = _as_known(client, change)
            client.command(
                f"ALTER TABLE {{table:Identifier}} {change}", {"table": table}, settings=_LATER
            )
    except ClickHouseError as error:
        say(f"The table {table} gets no projections, so statistics take longer: {reason(error)}")


def _as_known(client: Client, statement: str) -> str:
    """A statement without what a ClickHouse before 26.6 does not know: there, more is read."""
    if client.query(_KNOWS_GRANULES).result_rows[0][0]:
        return statement
    return statement.replace(_SMALL_GRANULES, "").replace(_UNCOUNTED, "")
