"""Store `influxdb`: an InfluxDB server at `INFLUXDB_URL`, by line protocol.

A point is its series and its time; writing it again overwrites it. A line's series has the tag
`file_id`, and its time is the line's, cut to the millisecond, plus the line's number in its file
modulo 1,000,000 as nanoseconds: so two lines never meet, and a repeated line always meets itself.
After a crash, reading goes on at the recorded position, and what was written beyond it is written
again, with the same columns as tags (docs/influxdb.md).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import polars as pl

from connectors.batch import COLUMNS, PLACE, REFUSED, Parsed
from connectors.distinct import Distinct, distinct
from connectors.errors import StoreError
from connectors.saying import say
from connectors.sinks.influxdb.accounts import InfluxAccounts
from connectors.sinks.influxdb.line_protocol import (
    DEAD_LETTERS,
    MEASUREMENT,
    Encoded,
    Texts,
    encode,
    point,
)
from connectors.sinks.influxdb.positions import NO_EVENT, InfluxLedger, Plan
from connectors.sinks.influxdb.reader import InfluxReader
from connectors.sinks.influxdb.server import InfluxError, InfluxServer, lasting, overload, trouble
from connectors.sinks.influxdb.tag_guard import TagGuard
from connectors.sinks.retry import PROXY_REFUSALS, Retry
from connectors.sinks.writers import Lines, OverwritingWriter
from connectors.store import Reader
from settings import Settings

TESTED = ("1.6",)
"""The versions that the tests run against."""

_BODY_BYTES = 4 * 1024 * 1024  # of a request, of which there are copies; 1.x takes 25,000,000
_DROPPED = " dropped="  # 1.x ends so, with the number of points
_SHORT = 1024  # bytes
_WORDS = 1000  # characters of what the server says: it repeats what it was sent


def open_store(settings: Settings, retry: Retry) -> InfluxStore:
    """Open the store; the bucket must be there.

    Raises `StoreError` with the server's address if it cannot be reached, refuses the user or the
    token, does not know the bucket, or has the columns of `INFLUXDB_TAGS` as fields.
    """
    return InfluxStore(settings, retry)


def open_reader(settings: Settings, retry: Retry) -> InfluxReader:
    """A reader of the server's bucket, which may be away or be made later."""
    return InfluxReader(settings)


class InfluxStore(InfluxLedger):
    """See the module's docstring."""

    def __init__(self, settings: Settings, retry: Retry) -> None:
        super().__init__(InfluxServer(settings, retry), settings, retry)
        self._tags = columns = settings.influxdb_tag_columns
        try:
            retry(self.open, overload)
            self._refuse_other_tags(columns)
            self._guard = TagGuard(
                self._server,
                self,
                columns,
                settings.influxdb_max_tag_values,
                retry.status,
            )
        except InfluxError as error:
            raise StoreError(f"Cannot open InfluxDB at {self._server.address}: {error}") from None
        version = self._server.version()
        if not version.startswith(tuple(f"{tested}." for tested in TESTED)):
            say(
                f"InfluxDB {version} at {self._server.address} "
                f"is unverified: Logwax is tested with {', '.join(TESTED)}.",
            )
        self.reader: Reader | None = InfluxReader(settings)

    def offsets(self, file_id: int, first: int, last: int) -> set[int]:
        """Where the stored lines of a file begin, from `first` to before `last`."""
        found: set[int] = set()
        for measurement in (MEASUREMENT, DEAD_LETTERS):
            statement = (
                f'SELECT "offset" FROM "{measurement}" WHERE "file_id" = $file '
                'AND "offset" >= $first AND "offset" < $last'
            )
            ask = partial(self._server.ask, statement, file=str(file_id), first=first, last=last)
            found.update(row["offset"] for row in self._retry(ask, lasting))
        return found

    def writer(self) -> InfluxWriter:
        """A writer; workers share the connections."""
        return InfluxWriter(self._server, self, self._guard, self._tags, self._retry)

    def accounts(self) -> InfluxAccounts:
        """What commands ask, as far as points tell."""
        return InfluxAccounts(self._server, self)

    def close(self) -> None:
        """Close every connection."""
        self._server.close()

    def _refuse_other_tags(self, columns: Sequence[str]) -> None:
        """A name that is a tag in one point and a field in another can hardly be asked for."""
        tags = {row["tagKey"] for row in self._server.ask(f'SHOW TAG KEYS FROM "{MEASUREMENT}"')}
        fields = {
            row["fieldKey"] for row in self._server.ask(f'SHOW FIELD KEYS FROM "{MEASUREMENT}"')
        }
        wrong = sorted((fields & set(columns)) | ((tags & COLUMNS.keys()) - {*columns, "file_id"}))
        if wrong:
            raise StoreError(
                f"INFLUXDB_TAGS={','.join(columns)}: in the bucket {self._server.bucket!r} "
                f"{', '.join(wrong)} was written under another INFLUXDB_TAGS: "
                "set it as it was, or take another bucket."
            )


class InfluxWriter(OverwritingWriter):
    """Stores one batch after another; see the module's docstring."""

    def __init__(
        self,
        server: InfluxServer,
        ledger: InfluxLedger,
        guard: TagGuard,
        tags: Sequence[str],
        retry: Retry,
    ) -> None:
        self._server = server
        self._ledger = ledger
        self._guard = guard
        self._tags = tags
        self._retry = retry

    def _begin(self, batch: Parsed, in_order: Callable[[], object]) -> _Points:
        rows = batch.rows
        tags = {name: distinct(rows[name]) for name in self._tags if name in rows.columns}
        if len(batch.rejected) and _with_events(batch.rejected, rows)["event"].null_count():
            in_order()  # dead letters stand at the time of the row before
        plans = self._ledger.begin(batch.spans, self._guard.demoted(tags), in_order)
        return _Points(self, rows, self._tags, tags, plans)

    def _finish(self, batch: Parsed) -> None:
        self._ledger.finish(batch.spans, _last_events(batch.rows))

    def write_points(self, lines: Encoded) -> list[tuple[int, int, str]]:
        """Write all lines that the server takes; returns the others' numbers, and its words."""
        refused = []
        parts = list(reversed(lines.parts(_BODY_BYTES)))
        while parts:
            self._retry.refuse_when_over()
            first, last = parts.pop()
            try:
                self._retry(partial(self._server.write, lines.between(first, last)), trouble)
            except InfluxError as error:
                if not error.may_be_rows:
                    raise
                # The server has stored the rest, or nothing; again does no harm.
                if last - first == 1 or error.words.endswith(f"{_DROPPED}{last - first}"):
                    if error.is_about_rows or self._refuses(error, lines.between(first, last)):
                        refused.append((first, last, error.words))
                else:
                    middle = (first + last) // 2
                    parts += [(middle, last), (first, middle)]
        return refused

    def insist(self, points: bytes | memoryview) -> None:
        """Write points that nothing is wrong with; waits until the server takes them."""
        self._retry(partial(self._server.write, points), lasting)

    def _refuses(self, error: InfluxError, points: bytes | memoryview) -> bool:
        """Whether the server takes other points, and never these, whatever it calls the reason."""
        for _ in range(1 if error.is_its_own else PROXY_REFUSALS):
            self._ledger.check()
            try:
                self._retry(partial(self._server.write, points), trouble)
            except InfluxError as again:
                if not again.may_be_rows:
                    raise
            else:
                return False
        return True


@dataclass(frozen=True)
class _Points(Lines):
    """The lines of one batch as points: those of each file as the plan says."""

    writer: InfluxWriter
    batch_rows: pl.DataFrame
    columns: Sequence[str]
    tags: Mapping[str, Distinct]
    plans: Mapping[int, Plan]

    def insert(self, rows: pl.DataFrame) -> pl.DataFrame:
        refused = [pl.DataFrame(schema=REFUSED)]
        for demoted in {plan.demoted for plan in self.plans.values()}:
            files = [file_id for file_id, plan in self.plans.items() if plan.demoted == demoted]
            if len(files) == len(self.plans):
                mine, lines = rows, encode(rows, self.columns, demoted, self.tags)
            else:
                mine = rows.filter(_is_of(files))
                lines = encode(mine, self.columns, demoted)
            refused += [
                mine[first:last].select(*PLACE, "line", detail=pl.lit(words[:_WORDS]))
                for first, last, words in self.writer.write_points(lines)
            ]
        return pl.concat(refused)

    def insert_dead(self, letters: pl.DataFrame) -> None:
        if letters.is_empty():
            return
        letters = _with_events(letters, self.batch_rows)
        points = _dead_letters(letters, self.plans)
        refused = self.writer.write_points(Texts(pl.Series(points, dtype=pl.String)))
        # The bucket keeps less, or takes no text so long: now and in short, it takes it.
        short = [
            one
            for first, last, words in refused
            for one in _dead_letters(_shortened(letters[first:last], words), self.plans)
        ]
        if short:
            lines = Texts(pl.Series(short, dtype=pl.String))
            for first, last, _ in self.writer.write_points(lines):
                self.writer.insist(lines.between(first, last))


def _last_events(rows: pl.DataFrame) -> dict[int, int]:
    """Of each file the time of its last row, in microseconds."""
    if rows.is_empty():
        return {}
    if rows["file_id"][0] == rows["file_id"][-1]:  # files come one after another
        return {rows["file_id"][0]: rows["timestamp"].tail(1).to_physical().item()}
    last = rows.group_by("file_id").agg(pl.col("timestamp").last().to_physical())
    return dict(last.iter_rows())


def _with_events(letters: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The letters with the `event` before them: the time of the row before, if there is one."""
    events = rows.select("file_id", "offset", event=pl.col("timestamp").to_physical())
    letters, events = letters.sort("offset"), events.sort("offset")
    return letters.join_asof(events, on="offset", by="file_id", check_sortedness=False)


def _shortened(letters: pl.DataFrame, words: str) -> pl.DataFrame:
    """Dead letters that the server has refused: as of now, with the beginning of their lines."""
    now = time.time_ns() // 1000
    told = pl.format("{}; the server refused it: {}", "detail", pl.lit(words[:_WORDS]))
    return letters.with_columns(
        event=pl.lit(now), raw=pl.col("raw").bin.slice(0, _SHORT), detail=told
    )


def _dead_letters(letters: pl.DataFrame, plans: Mapping[int, Plan]) -> list[str]:
    """A point each, at the time of the row before it in its file, with its line's number.

    So a letter that is written again overwrites itself, as rows do. Before the first row of a file
    it is the time at which the file was begun.
    """
    points = []
    for letter in letters.iter_rows(named=True):
        plan, event = plans[letter["file_id"]], letter["event"]
        if event is None:
            event = plan.event_before
            if event == NO_EVENT:
                event = plan.born // 1000
        million, number = divmod(letter["line"], 1_000_000)
        points.append(
            point(
                DEAD_LETTERS,
                {
                    "file_id": str(letter["file_id"]),
                    "reason": letter["reason"],
                    # Of a file whose format has changed, no row moves the time on.
                    "million": str(million),
                },
                {
                    "offset": letter["offset"],
                    "source": letter["source"],
                    "raw": letter["raw"].decode(errors="backslashreplace"),
                    "detail": letter["detail"],
                },
                event // 1000 * 1_000_000 + number,
            ).decode()
        )
    return points


def _is_of(files: Sequence[int]) -> pl.Expr:
    return pl.col("file_id").is_in(pl.Series(files, dtype=pl.UInt64).implode())
