"""The tables of the local logger, for the logger itself and for whoever ships what they hold.

A file has one stream a table: `logs` and `metrics`. Their ids only grow, are never given twice
(AUTOINCREMENT), and are committed in order, since SQLite has one writer at a time: whoever has
read all ids up to one has missed none below it.

`marks` holds a few numbers by name: `stream`, which tells this file from any other, drawn when it
was made; `shipped logs` and `shipped metrics`, the last id that has arrived elsewhere. While such a
mark is there, retention takes no row behind it; without one it goes by age alone. A mark only
grows: `SET_MARK` is right whatever comes twice or late.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from logwax_capture.jsontext import encode, whole

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS logs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        timestamp TEXT NOT NULL,
        level TEXT NOT NULL,
        thread_id INTEGER NOT NULL DEFAULT 0,
        module TEXT NOT NULL,
        message TEXT NOT NULL,
        extra_data TEXT
    )""",
    """CREATE TABLE IF NOT EXISTS metrics (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        timestamp TEXT NOT NULL,
        metric_name TEXT NOT NULL,
        value REAL NOT NULL,
        unit TEXT
    )""",
    "CREATE INDEX IF NOT EXISTS idx_logs_timestamp ON logs (timestamp)",
    "CREATE INDEX IF NOT EXISTS idx_logs_level ON logs (level)",
    "CREATE INDEX IF NOT EXISTS idx_logs_thread ON logs (thread_id)",
    "CREATE INDEX IF NOT EXISTS idx_metrics_name ON metrics (metric_name, timestamp)",
    "CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY, id INTEGER NOT NULL) WITHOUT ROWID",
    "INSERT OR IGNORE INTO marks VALUES ('stream', random() & 0x7fffffffffffffff)",
)
"""What makes the tables, in order. `timestamp` is UTC as SQLite's `datetime()` writes it, with
microseconds: `2026-11-26 15:40:00.123456`; `extra_data` is a JSON object; `thread_id` that of
`threading.get_ident()`."""

COLUMNS = {
    "logs": ("id", "timestamp", "level", "thread_id", "module", "message", "extra_data"),
    "metrics": ("id", "timestamp", "metric_name", "value", "unit"),
}
"""The columns of each table, in order."""

NEXT = {
    table: f"SELECT {', '.join(columns)} FROM {table} WHERE id > ? ORDER BY id LIMIT ?"
    for table, columns in COLUMNS.items()
}
"""By table, the rows behind an id, as many as wanted."""

GET_MARK = "SELECT id FROM marks WHERE name = ?"
"""A mark by its name; no row if there is none."""

SET_MARK = """INSERT INTO marks VALUES (?, ?)
ON CONFLICT (name) DO UPDATE SET id = max(id, excluded.id)"""
"""Name and id of what has arrived; an id of 0 says that somebody will ship this table."""


def streams(stream: int) -> dict[str, int]:
    """By table, the id of its stream, made of the mark `stream`: 63 bits."""
    return {"logs": stream, "metrics": stream ^ 1}


def line(table: str, row: Sequence[Any]) -> bytes:
    """A row as a line of JSON, as Logwax reads it; `row` has the columns of the table first.

    Of a log these are `timestamp`, `level`, `logger`, `message`, `thread_id`, and the fields of
    extra; of a metric `timestamp`, `metric`, `value` and `unit`.
    """
    own: dict[str, Any] = {"timestamp": f"{row[1].replace(' ', 'T')}Z"}
    if table == "metrics":
        own |= {"metric": row[2], "value": row[3], "unit": row[4]}
        return whole(encode(own) + "\n")
    own |= {"level": row[2], "logger": row[4], "message": row[5], "thread_id": row[3]}
    fields = json.loads(row[6]) if row[6] else {}
    own |= {f"extra_{key}" if key in own else key: fields[key] for key in fields}
    return whole(encode(own) + "\n")


def shipped(table: str) -> str:
    """The name of the mark of the last row of this table that has arrived."""
    return f"shipped {table}"


PURGE = {
    table: f"""DELETE FROM {table} WHERE id IN (
        SELECT id FROM {table} WHERE timestamp < ?
        AND id <= coalesce((SELECT id FROM marks WHERE name = '{shipped(table)}'), id)
        ORDER BY id LIMIT ?)"""
    for table in COLUMNS
}
"""By table, removes rows from before a time, as many as wanted, but none that still has to be
shipped."""

SEARCH = (
    """CREATE VIRTUAL TABLE IF NOT EXISTS logs_search USING fts5 (
        module, message, extra_data, content='logs', content_rowid='id')""",
    """CREATE TRIGGER IF NOT EXISTS logs_search_delete AFTER DELETE ON logs
        WHEN old.id <= (SELECT id FROM marks WHERE name = 'searchable')
        BEGIN INSERT INTO logs_search (logs_search, rowid, module, message, extra_data)
        VALUES ('delete', old.id, old.module, old.message, old.extra_data); END""",
    "INSERT OR IGNORE INTO marks VALUES ('searchable', 0)",
)
"""What makes the index for full text, at the first search: writing pays nothing for it."""

MAKE_SEARCHABLE = """INSERT INTO logs_search (rowid, module, message, extra_data)
SELECT id, module, message, extra_data FROM logs WHERE id > ? AND id <= ?"""
"""Adds rows behind one id up to another to the index."""
