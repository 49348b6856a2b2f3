"""Looks again and again whether alerts fire, and tells their webhooks when that changes."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone

from anyio import create_task_group, sleep, to_thread
from anyio.abc import TaskGroup
from pydantic import BaseModel

from api.alert_book import Alert, AlertBook, Change, Definition, State, When
from api.completeness import Completing
from api.webhooks import Webhooks
from connectors.errors import LogwaxError
from connectors.filters import parse
from connectors.logs import Logs, Selection
from connectors.saying import last_words, say
from connectors.status import SourceStatus

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SECOND = 10**6  # microseconds

_OFTEN = 20  # looks in a window, at least one a minute, at most one a second
_BEHIND = 10 * _SECOND  # later than so, what is stored already is looked at, too

_TRY_SECONDS = 300.0  # between two tries to send, at most
_GIVE_UP = 24 * 3600 * _SECOND  # what a receiver has not taken by then, it will not


@dataclass(frozen=True)
class Look:
    """What was seen last of an alert: so many rows from `start` to before `end`.

    Times are in microseconds since 1970. `problem` is why it could not be judged since.
    """

    count: int | None = None
    start: int = 0
    end: int = 0
    problem: str = ""


@dataclass(frozen=True)
class _Seen:
    """A look at what was defined so, and when to look again, by the monotonic clock."""

    definition: Definition
    look: Look
    due: float


class Told(BaseModel):
    """What a webhook gets."""

    id: str
    text: str
    alert: str
    state: State
    time: datetime
    count: int
    start: datetime
    end: datetime
    filter: str
    when: When
    threshold: int
    window: float


class Alerting:
    """Judges the alerts of a book over the rows of a store, and sends what has changed.

    Guarantees: a change is recorded before it is sent, and sent until the receiver has taken it, in
    the order of the changes of its alert; a receiver may get one again, which then has the `id` it
    had. Rows that may be missing never make an alert fire, nor end it.
    """

    def __init__(
        self, book: AlertBook, rows: Logs | None, completing: Completing, webhooks: Webhooks
    ) -> None:
        self._book = book
        self._rows = rows
        self._completing = completing
        self._webhooks = webhooks
        self._seen: dict[int, _Seen] = {}
        self._tries: dict[str, tuple[int, float]] = {}  # of a change: how many, when again
        self._sending: set[str] = set()
        self._said = ""

    def look(self, alert: Alert) -> Look:
        """What was seen of it last, by this process."""
        seen = self._seen.get(alert.id)
        return seen.look if seen and seen.definition == alert.definition else Look()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Meanwhile alerts are judged and changes sent, unless another process does so."""
        async with create_task_group() as group:
            if self._rows:
                group.start_soon(self._go_on, group, self._rows)
            yield
            group.cancel_scope.cancel()
        await self._webhooks.close()
        self._book.let_go()

    async def _go_on(self, group: TaskGroup, rows: Logs) -> None:
        while True:
            try:
                if await to_thread.run_sync(self._book.is_mine):
                    await self._send_all(group)
                    await self._judge_all(rows)
                self._said = ""
            except Exception as error:  # whatever it is, alerts go on
                if (words := last_words(error)) != self._said:
                    say(f"Alerts are not looked at. {words}")
                    self._said = words
            await sleep(1)

    async def _judge_all(self, rows: Logs) -> None:
        alerts = await to_thread.run_sync(self._book.alerts)
        ids = {alert.id for alert in alerts}
        self._seen = {id_: seen for id_, seen in self._seen.items() if id_ in ids}
        for alert in alerts:
            seen = self._seen.get(alert.id)
            if not seen or seen.definition != alert.definition or seen.due <= time.monotonic():
                await self.judge(alert, rows)

    async def judge(self, alert: Alert, rows: Logs) -> None:
        """Look once, and record what has changed."""
        old, wanted = self.look(alert), alert.definition
        due = time.monotonic() + min(max(wanted.window / _OFTEN, 1), 60)
        try:
            look = await self._judge(alert, rows, old)
        except LogwaxError as error:  # of the store, or the filter, whose columns may be gone
            look = replace(old, problem=str(error))
        self._seen[alert.id] = _Seen(wanted, look, due)

    async def _judge(self, alert: Alert, rows: Logs, old: Look) -> Look:
        wanted = alert.definition
        columns = await rows.columns()
        filter_ = parse(wanted.filter, columns)
        source, now = await self._completing.look(), _now()
        for end in _ends(source, now):
            start = end - wanted.window * _SECOND
            if end <= old.end:
                continue
            count, _ = await rows.facets(Selection(columns, filter_, start, end), [], 1)
            fires = verdict(wanted, count, is_whole=_is_whole(source, end, wanted.when))
            if fires is not None:
                look = Look(count, start, end)
                if fires != (alert.state == "firing"):
                    await self._change(alert, "firing" if fires else "resolved", look)
                return look
        return replace(old, problem=_lacking(source, now))

    async def _change(self, alert: Alert, state: State, look: Look) -> None:
        id_, now, wanted = uuid.uuid4().hex, _now(), alert.definition
        assert look.count is not None  # it has been counted
        told = Told(
            id=id_,
            text=_sentence(wanted, state, look.count),
            alert=wanted.name,
            state=state,
            time=moment(now),
            count=look.count,
            start=moment(look.start),
            end=moment(look.end),
            filter=wanted.filter,
            when=wanted.when,
            threshold=wanted.threshold,
            window=wanted.window,
        )
        change = Change(
            id=id_,
            alert=alert.id,
            name=wanted.name,
            state=state,
            time=now,
            count=look.count,
            start=look.start,
            end=look.end,
            body=told.model_dump_json(),
            delivery="waiting" if wanted.webhook else "none",
        )
        await to_thread.run_sync(self._book.record, alert, change)

    async def _send_all(self, group: TaskGroup) -> None:
        now = time.monotonic()
        waiting = await to_thread.run_sync(self._book.waiting)
        for change, webhook in waiting:
            _, again = self._tries.get(change.id, (0, now))
            if change.id not in self._sending and again <= now:
                self._sending.add(change.id)
                group.start_soon(self._send, change, webhook)

    async def _send(self, change: Change, webhook: str) -> None:
        try:
            tries, _ = self._tries.pop(change.id, (0, 0.0))
            problem = await self._webhooks.post(webhook, change.body)
            if not problem:
                await to_thread.run_sync(self._book.told, change, "sent")
            elif _now() - change.time > _GIVE_UP:
                say(f"Alert {change.name!r}: its webhook has not got {change.state!r}. {problem}")
                await to_thread.run_sync(self._book.told, change, "failed", problem)
            else:
                await to_thread.run_sync(self._book.told, change, "waiting", problem)
                again = time.monotonic() + min(2.0**tries, _TRY_SECONDS)
                self._tries[change.id] = tries + 1, again
                if tries == 0:
                    say(f"Alert {change.name!r}: its webhook is tried again. {problem}")
        except Exception as error:  # it is sent again: at least once
            say(f"Alert {change.name!r}: {last_words(error)}")
        finally:
            self._sending.discard(change.id)


def verdict(wanted: Definition, count: int, *, is_whole: bool) -> bool | None:
    """Whether an alert fires for so many rows; None: rows may be missing that would change that.

    More rows than there are now can be there later, never fewer.
    """
    is_above = wanted.when == "above"
    is_reached = count > wanted.threshold if is_above else count >= wanted.threshold
    if is_reached:
        return is_above
    return not is_above if is_whole else None


def moment(time: int) -> datetime:
    """A time in microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=time)


def _ends(source: SourceStatus | None, now: int) -> list[int]:
    """Where the window may end: where everything is stored; before that now, if that is far."""
    if source is None or source.complete_to is None:
        return [now]
    complete_to = int(source.complete_to * _SECOND)
    return [complete_to] if now - complete_to <= _BEHIND else [now, complete_to]


def _is_whole(source: SourceStatus | None, end: int, when: When) -> bool:
    """Whether all rows before `end` are stored.

    Where nobody can know, as without a pipeline in this process, an alert that fires shall end
    all the same; but none fires for rows that may be there.
    """
    if source is not None and source.complete_to is not None:
        return end <= int(source.complete_to * _SECOND)
    knows_of_more = source is not None and (source.files_behind or source.blocks_in_doubt)
    return when == "above" and not knows_of_more


def _lacking(source: SourceStatus | None, now: int) -> str:
    """Why a window may lack rows; empty if none did that was looked at."""
    if source is None:
        return "Nobody knows whether rows are missing: no pipeline is in this process."
    if source.complete_to is not None and len(_ends(source, now)) == 1:
        return ""
    lacks = {"files behind": source.files_behind, "blocks in doubt": source.blocks_in_doubt}
    known = ", ".join(f"{name}: {count}" for name, count in lacks.items() if count)
    return f"Rows may be missing ({known})." if known else "Nobody knows whether rows are missing."


def _sentence(wanted: Definition, state: State, count: int) -> str:
    rows = f"{count} {'row' if count == 1 else 'rows'} in {shown_window(wanted.window)}"
    if state == "firing":
        limit = "more" if wanted.when == "above" else "fewer"
        return f"{wanted.name}: {rows}, {limit} than {wanted.threshold}."
    return f"{wanted.name}: resolved, {rows}."


_UNITS = {"d": 86_400, "h": 3600, "m": 60, "s": 1}


def shown_window(seconds: int) -> str:
    """A window as people write it, such as `5m`."""
    unit = next(unit for unit, length in _UNITS.items() if seconds % length == 0)
    return f"{seconds // _UNITS[unit]}{unit}"


def window_of(text: str) -> int:
    """The seconds of a window such as `5m`. Raises `ValueError` if it is none."""
    number, unit = text[:-1], text[-1:]
    if unit in _UNITS and number.isascii() and number.isdecimal() and len(number) < 7:
        seconds = int(number) * _UNITS[unit]
        if 10 <= seconds <= 7 * _UNITS["d"]:
            return seconds
    raise ValueError("must be a time such as 30s, 5m, 1h, 1d, from 10s to 7d")


def _now() -> int:
    return time.time_ns() // 1000
