"""One question of a person's own to a ClickHouse store, which can change nothing: `logwax query`.

The engine itself is what holds it: its parser takes a statement that may stand in brackets, so no
`INSERT` and no `INTO OUTFILE`, and its `readonly` refuses all that changes something or reads from
elsewhere, such as `file()` and `url()`. Time, memory and rows are bounded, since a pipeline may be
at work beside.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import closing

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from connectors.accounts import Answer
from connectors.errors import StoreError

SECONDS = 60
"""What an answer may take."""

_FORMATTED = "SELECT formatQuerySingleLine({sql:String})"

# What says something of a table, and may not stand in brackets.
_DESCRIPTION = re.compile(r"(SHOW|DESCRIBE TABLE|EXISTS TABLE) [\w `.]+")

# A function, unlike the table function of this name: `readonly` lets it read any file.
_READS_A_FILE = re.compile(r"^ *Function file\b", re.IGNORECASE | re.MULTILINE)

_LIMITS = {
    "max_execution_time": SECONDS,
    "max_memory_usage": 1024**3,
    "max_threads": 2,
    "max_block_size": 8192,  # the rows that are made at least
    "result_overflow_mode": "break",
    "output_format_json_quote_64bit_integers": 0,
}


def select(connect: Callable[[], Client], sql: str, most: int, mark: str) -> Answer:
    """Ask `sql`, and take up to `most` rows; `mark` is what the question can be killed by.

    Raises `StoreError` if it is not one `SELECT` (or `SHOW`, `DESCRIBE`, `EXPLAIN`, `EXISTS`), or
    the store refuses it.
    """
    try:
        with closing(connect()) as client:  # of its own: what is set holds for all it asks
            statement = _one_statement(client, sql)
            limits = {**_LIMITS, "max_result_rows": most + 1, "log_comment": mark, "readonly": 1}
            known = client.server_settings
            if known["readonly"].readonly and known["readonly"].value == "0":
                raise StoreError("This user may write, and may not say that it will not.")
            for name, value in limits.items():
                if not known[name].readonly:  # to a user who may only read, these are given
                    client.set_client_setting(name, value)
            found = client.raw_query(statement, fmt="JSONCompactEachRowWithNames")
    except ClickHouseError as error:
        raise StoreError(f"ClickHouse does not answer that: {error}") from error
    lines = found.decode(errors="surrogateescape").split("\n")
    names, *rows = [json.loads(line) for line in lines if line] or [[]]
    return Answer(names, rows[:most], len(rows) <= most)


def _one_statement(client: Client, sql: str) -> str:
    """The statement as the engine's parser writes it: one, and without its comments."""
    [[statement]] = client.query(_FORMATTED, {"sql": sql}).result_rows
    text = str(statement)
    if _DESCRIPTION.fullmatch(text):
        return text
    try:
        tree = client.raw_query(f"EXPLAIN AST SELECT * FROM ({text})")
    except ClickHouseError:
        raise StoreError(
            "Only one SELECT, SHOW, DESCRIBE, EXPLAIN or EXISTS can be asked, without INTO "
            f"OUTFILE and FORMAT; this is something else: {text}"
        ) from None
    if _READS_A_FILE.search(tree.decode(errors="replace")):
        raise StoreError("Only what is stored can be asked: file() reads something else.")
    return text
