"""Questions of a person's own to a ClickHouse store, which can change nothing.

The engine itself is what holds them: its parser takes a statement that may stand in brackets, so no
`INSERT` and no `INTO OUTFILE`, and its `readonly` refuses all that changes something or reads from
elsewhere, such as `url()`. Time, memory and rows are bounded, since a pipeline may be at work
beside. `logwax query` gets rows, and clients of ClickHouse's own protocol the engine's bytes.
"""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from itertools import count

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, Error

from connectors.accounts import Answer, Formatted, Question, RefusedError
from connectors.errors import StoreError
from connectors.sinks.clickhouse.errors import reason

SECONDS = 60
"""What an answer may take."""

MOST_ROWS = 1_000_000
"""Of an answer by the protocol; `MOST_BYTES` are those of the engine's columns."""

MOST_BYTES = 256 * 1024**2

_MOST_BYTES_CUT = 16 * 1024**2  # of an answer that is cut when it is longer

_FORMATTED = "SELECT formatQuerySingleLine({sql:String})"

_FORMAT = re.compile(r" FORMAT `?(\w+)`?$")

# As the parser writes them: what stands in quotes is no word of the statement.
_TEXT, _QUOTED_NAME = r"'(?:\\.|[^'\\])*'", r"`(?:\\.|[^`\\])*`"

# What says something of a table, and may not stand in brackets.
_DESCRIPTION = re.compile(
    rf"(SHOW|DESCRIBE TABLE|EXISTS TABLE) [\w `.]+(LIKE {_TEXT}(?: LIMIT \d+)?)?", re.DOTALL
)
_TOKEN = re.compile(rf"{_TEXT}|{_QUOTED_NAME}|\w+", re.DOTALL)
_PLACEHOLDER = re.compile(rf"{_TEXT}|{_QUOTED_NAME}|\{{(\w+):([^}}]+)\}}", re.DOTALL)

# The filters of a dashboard, of each table a condition: Grafana's plugin of ClickHouse puts them
# behind a statement, or beside it.
_FILTERS = "additional_table_filters"
_FILTERED = re.compile(
    rf" SETTINGS {_FILTERS} = (\{{{_TEXT}:{_TEXT}(?:, {_TEXT}:{_TEXT})*\}})(?= FORMAT `?\w+`?$|$)",
    re.DOTALL,
)
_CONDITION = re.compile(rf"{_TEXT}:({_TEXT})", re.DOTALL)

_READONLY, _CANNOT_PARSE_NUMBER, _UNKNOWN_FORMAT, _NO_CODE = 164, 72, 73, 1001

_LIMITS = {"max_execution_time": SECONDS, "max_memory_usage": 1024**3, "max_threads": 2}

_CUT = {
    "max_block_size": 8192,  # the rows that are made at least
    "result_overflow_mode": "break",
}

_LIMITS_OF_ROWS = {**_LIMITS, **_CUT, "output_format_json_quote_64bit_integers": 0}

_LIMITS_OF_BYTES = {**_LIMITS, "max_result_rows": MOST_ROWS, "max_result_bytes": MOST_BYTES}

# How an answer is written. Not all of `output_format_*`: some of these name a file.
_CLIENTS_OWN = {
    "date_time_output_format",
    "output_format_json_named_tuples_as_objects",
    "output_format_json_quote_64bit_floats",
    "output_format_json_quote_64bit_integers",
    "output_format_json_quote_decimals",
    "output_format_json_quote_denormals",
    "output_format_native_write_json_as_string",
    "session_timezone",
}


def select(connect: Callable[[], Client], sql: str, most: int, mark: str) -> Answer:
    """Ask `sql`, and take up to `most` rows; `mark` is what the question can be killed by.

    Raises `StoreError` if it is not one `SELECT` (or `SHOW`, `DESCRIBE`, `EXPLAIN`, `EXISTS`), or
    the store refuses it.
    """
    try:
        with closing(connect()) as client:  # of its own: what is set holds for all it asks
            statement = _checked(client, _parsed(client, sql))
            _limit(client, {**_LIMITS_OF_ROWS, "max_result_rows": most + 1}, mark)
            found = client.raw_query(statement, fmt="JSONCompactEachRowWithNames")
    except ClickHouseError as error:
        raise StoreError(f"ClickHouse does not answer that: {error}") from error
    lines = found.decode(errors="surrogateescape").split("\n")
    names, *rows = [json.loads(line) for line in lines if line] or [[]]
    return Answer(names, rows[:most], len(rows) <= most)


class Questions:
    """Answers clients of ClickHouse's protocol, by clients of the engine that can only read.

    To make one takes longer than most questions, so they are kept. `mark` is what all can be killed
    by: that of each begins with it.
    """

    def __init__(self, connect: Callable[[], Client], mark: str) -> None:
        self._connect = connect
        self._mark = mark
        self._idle: deque[tuple[Client, str]] = deque()
        self._marks = (f"{mark}:{number}" for number in count())
        self._at_work: dict[int, str] = {}
        self._lock = threading.Lock()
        self._closed = False

    def ask(self, question: Question) -> Formatted:
        """The answer, in the statement's format or the question's.

        Raises `RefusedError` for what `select` refuses, for a setting that is more than how an
        answer is written or a limit, and for all that the store refuses.
        """
        try:
            return self._ask(question)
        except ClickHouseError as error:
            code = error.code if isinstance(error, Error) else None
            raise RefusedError(code or _NO_CODE, reason(error)) from error

    def _ask(self, question: Question) -> Formatted:
        sql, own = question.sql, _own_settings(question.settings)
        if _FILTERS in sql or _FILTERS in own:
            with self._client(question, {}) as client:
                sql, filters = _filtered(client, sql, str(own.pop(_FILTERS, "")))
            own |= {_FILTERS: filters} if filters else {}
        if question.most:
            own |= {
                **_CUT,
                "max_result_rows": question.most + 1,
                "max_result_bytes": _MOST_BYTES_CUT,
            }
        with self._client(question, own) as client:
            text = _parsed(client, sql)
            asked = _FORMAT.search(text)
            written = asked[1] if asked else question.format
            if not re.fullmatch(r"\w+", written):
                why = f"Unknown format {written!r}. (UNKNOWN_FORMAT)"
                raise RefusedError(_UNKNOWN_FORMAT, why)
            statement = _checked(client, text[: asked.start()] if asked else text)
            parameters = _parameters(statement, question.parameters)
            client.command("USE {name:Identifier}", {"name": question.database or "default"})
            data = client.raw_query(statement, parameters, fmt=written)
            return Formatted(data, written, *getattr(client, "has_read", (0, 0)))

    def give_up(self, question: Question, kill: Callable[[str], None]) -> None:
        """Have a question killed by its mark, if it is under way."""
        with self._lock:  # until then its client asks nothing else
            if mark := self._at_work.get(id(question)):
                kill(mark)

    def close(self) -> None:
        """Close what is kept; no more is."""
        self._closed = True
        while self._idle:
            self._idle.pop()[0].close()

    def _new(self, own: Mapping[str, object]) -> tuple[Client, str]:
        client, mark = self._connect(), next(self._marks)
        _limit(client, {**_LIMITS_OF_BYTES, **own}, mark)
        return client, mark

    @contextmanager
    def _client(self, question: Question, own: Mapping[str, object]) -> Iterator[Client]:
        try:
            if own:  # what is set holds for all that a client asks
                raise IndexError
            client, mark = self._idle.pop()
        except IndexError:
            client, mark = self._new(own)
        self._at_work[id(question)] = mark
        is_kept = False
        try:
            yield client
            is_kept = not own  # nor is one kept whose answer failed: its rows would be in the next
        finally:
            with self._lock:
                del self._at_work[id(question)]
            if not is_kept:
                client.close()
        if is_kept:
            self._idle.append((client, mark))
        if self._closed:
            self.close()


def _limit(client: Client, limits: Mapping[str, object], mark: str) -> None:
    """Let this client only read, and no more than this."""
    known = client.server_settings
    if known["readonly"].readonly and known["readonly"].value == "0":
        raise StoreError("This user may write, and may not say that it will not.")
    for name, value in {**limits, "log_comment": mark, "readonly": 1}.items():
        if not known[name].readonly:  # to a user who may only read, these are given
            client.set_client_setting(name, value)


def _own_settings(given: Mapping[str, str]) -> dict[str, object]:
    """What of a client's settings is kept: a limit only if it is a lower one."""
    kept: dict[str, object] = {}
    for name, value in given.items():
        if name in _CLIENTS_OWN or name == _FILTERS:
            kept[name] = value
        elif name in _LIMITS_OF_BYTES:
            try:
                lower = int(float(value))
            except (ValueError, OverflowError):
                raise RefusedError(
                    _CANNOT_PARSE_NUMBER, f"{name} is no number: {value!r}. (CANNOT_PARSE_NUMBER)"
                ) from None
            if 0 < lower < _LIMITS_OF_BYTES[name]:
                kept[name] = lower
        elif name != "readonly":
            raise RefusedError(
                _READONLY, f"Cannot modify {name!r} setting in readonly mode. (READONLY)"
            )
    return kept


def _parsed(client: Client, sql: str) -> str:
    """The statement as the engine's parser writes it: one, and without its comments."""
    [[statement]] = client.query(_FORMATTED, {"sql": sql}).result_rows
    return str(statement)


def _filtered(client: Client, sql: str, filters: str) -> tuple[str, str]:
    """A statement without the filters behind it, and these, or those that were beside it.

    Each is a condition that only asks what is stored. Raises `RefusedError`.
    """
    text = _parsed(client, sql)
    beside = _parsed(client, f"SELECT 1 SETTINGS {_FILTERS} = {filters}") if filters else ""
    found = _FILTERED.search(text) or _FILTERED.search(beside)
    if not found:
        if filters:
            raise RefusedError(_READONLY, f"{_FILTERS} is to be {{'table': 'condition'}}.")
        return sql, ""
    for condition in _CONDITION.findall(found[1]):
        [[meant]] = client.query(f"SELECT {condition}").result_rows
        _checked(client, _parsed(client, f"SELECT 1 WHERE {meant}"))
    return _FILTERED.sub("", text), found[1]


def _checked(client: Client, statement: str) -> str:
    """A parsed statement that only asks, and only what is stored. Raises `RefusedError`."""
    # A function, too, unlike the table function of this name: `readonly` lets it read any file,
    # wherever functions can be named: `* APPLY(file)`, `arrayMap(file, ...)`.
    if any(found[0].strip("`") == "file" for found in _TOKEN.finditer(statement)):
        raise _reads_a_file()
    if not _DESCRIPTION.fullmatch(statement):
        try:
            _parsed(client, f"SELECT * FROM ({statement})")
        except ClickHouseError:
            raise RefusedError(
                _READONLY,
                "Only one SELECT, SHOW, DESCRIBE, EXPLAIN or EXISTS can be asked, without INTO "
                f"OUTFILE and FORMAT; this is something else: {statement}",
            ) from None
    return statement


class _AsSent:
    """A value that is escaped already: the client would escape a `str` again."""

    def __init__(self, value: str) -> None:
        self._value = value

    def __str__(self) -> str:
        return self._value


def _parameters(statement: str, given: Mapping[str, str]) -> dict[str, _AsSent]:
    """The values of a checked statement's placeholders."""
    values = {}
    for found in _PLACEHOLDER.finditer(statement):
        name, kind = found.groups()
        if name in given:
            # in `arrayMap({name:Identifier}, ...)` it is a function's
            if kind == "Identifier" and re.search(r"\\|\bfile\b", given[name]):
                raise _reads_a_file()
            values[name] = _AsSent(given[name])
    return values


def _reads_a_file() -> RefusedError:
    return RefusedError(
        _READONLY,
        "Only what is stored can be asked, and file() reads something else: no other name may be "
        "`file` either.",
    )
