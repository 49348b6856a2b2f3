"""The part of the API about alerts: `/alerts`, and what they have changed to."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from anyio import to_thread
from fastapi import FastAPI, HTTPException, Path, Query
from pydantic import AfterValidator, BaseModel, Field

from api.alert_book import Alert, AlertBook, AlertError, Definition, Delivery, State, When
from api.alerting import Alerting, moment, shown_window, window_of
from api.days import problems
from api.logs import ROUTES, Asked, logs_of, selection
from api.webhooks import Webhooks, shown
from connectors.store import Reader


def _a_window(text: str) -> str:
    return shown_window(window_of(text))


class WantedAlert(BaseModel):
    """What an alert looks for."""

    name: str = Field(min_length=1, max_length=200, examples=["many errors"])
    filter: str = Field(
        "",
        max_length=10_000,
        description="Which rows are counted, as in `docs/filters.md`. Default: all.",
        examples=["status_code >= 500"],
    )
    window: Annotated[str, AfterValidator(_a_window)] = Field(
        description="Of which time before now, by the rows' own: such as 30s, 5m, 1h, 1d.",
        examples=["5m"],
    )
    when: When = Field("above", description="It fires while more, or fewer, rows are there.")
    threshold: int = Field(ge=0, le=2**53, description="Than so many.")


class NewAlert(WantedAlert):
    """An alert as it is asked for."""

    webhook: str | None = Field(
        None,
        max_length=2000,
        description="Where each change of its state is posted, as JSON: http or https. Empty: "
        "nowhere. Left out: nowhere, or where it was before.",
        examples=["https://hooks.example/alerts"],
    )


class ShownAlert(WantedAlert):
    """An alert, and how it is."""

    id: int
    webhook: str = Field(description="Its host; the rest may be secret.")
    state: State = Field(description="`resolved`: it has fired, and does not any more.")
    since: datetime | None = Field(description="When it changed to that; null: it never did.")
    count: int | None = Field(
        description="Rows that were seen last; null: none looked yet, or another process does."
    )
    seen_to: datetime | None = Field(description="The end of the window that they are in.")
    problem: str = Field(description="Why it could not be judged since; empty: it could.")


class Alerts(BaseModel):
    """All alerts, by name."""

    alerts: list[ShownAlert]


class ShownChange(BaseModel):
    """A change of state."""

    id: str = Field(description="What the webhook gets as `id`.")
    alert: int = Field(description="The `id` of its alert.")
    name: str
    state: State
    time: datetime
    count: int
    start: datetime = Field(description="Beginning of the window in which these rows are.")
    end: datetime
    delivery: Delivery = Field(
        description="`none`: there is no webhook. `waiting`: it is tried, again and again. "
        "`failed`: it was tried for a day."
    )
    problem: str = Field(description="Why the webhook has not taken it; empty: it has.")


class Changes(BaseModel):
    """Changes of state, the newest first."""

    changes: list[ShownChange]


AlertId = Annotated[int, Path(ge=1, le=2**63 - 1, description="The `id` of an alert.")]

_DEFINING = {**ROUTES, **problems({400: "The body is no JSON of UTF-8."})}
_NO_ALERT = problems({404: "There is no such alert."})


def add_alerts(
    app: FastAPI, reader: Reader, book: AlertBook, alerting: Alerting, webhooks: Webhooks
) -> None:
    """Add `/alerts`, over this book; `alerting` knows how they are."""

    async def defined(new: NewAlert) -> Definition:
        await selection(logs_of(reader), Asked(new.filter, 0, 0))  # it means something
        if new.when == "below" and new.threshold == 0:
            raise HTTPException(422, "threshold 0: there are never fewer rows than none.")
        if new.webhook and (wrong := webhooks.wrong(new.webhook)):
            raise HTTPException(422, wrong)
        return Definition(
            name=new.name,
            filter=new.filter,
            window=window_of(new.window),
            when=new.when,
            threshold=new.threshold,
            webhook=new.webhook or "",
        )

    def as_shown(alert: Alert) -> ShownAlert:
        look, wanted = alerting.look(alert), alert.definition
        return ShownAlert(
            name=wanted.name,
            filter=wanted.filter,
            window=shown_window(wanted.window),
            when=wanted.when,
            threshold=wanted.threshold,
            id=alert.id,
            webhook=shown(wanted.webhook),
            state=alert.state,
            since=None if alert.since is None else moment(alert.since),
            count=look.count,
            seen_to=None if look.count is None else moment(look.end),
            problem=look.problem,
        )

    @app.get("/alerts", summary="Alerts", tags=["alerts"], responses=ROUTES)
    async def alerts() -> Alerts:
        """All alerts, and how they are."""
        logs_of(reader)
        return Alerts(alerts=[as_shown(one) for one in await to_thread.run_sync(book.alerts)])

    @app.post(
        "/alerts", summary="Add an alert", tags=["alerts"], status_code=201, responses=_DEFINING
    )
    async def add(new: NewAlert) -> ShownAlert:
        """Look for this from now on."""
        wanted = await defined(new)
        try:
            return as_shown(await to_thread.run_sync(book.add, wanted))
        except AlertError as error:
            raise HTTPException(422, str(error)) from None

    @app.get(
        "/alerts/history",
        summary="What alerts have changed to",
        tags=["alerts"],
        responses=ROUTES,
    )
    async def history(
        limit: Annotated[int, Query(ge=1, le=1000, description="Changes, at most.")] = 100,
    ) -> Changes:
        """The newest changes of all alerts, and what their webhooks made of them."""
        logs_of(reader)
        found = await to_thread.run_sync(book.changes, limit)
        return Changes(
            changes=[
                ShownChange(
                    id=one.id,
                    alert=one.alert,
                    name=one.name,
                    state=one.state,
                    time=moment(one.time),
                    count=one.count,
                    start=moment(one.start),
                    end=moment(one.end),
                    delivery=one.delivery,
                    problem=one.problem,
                )
                for one in found
            ]
        )

    @app.put(
        "/alerts/{alert_id}",
        summary="Change an alert",
        tags=["alerts"],
        responses={**_DEFINING, **_NO_ALERT},
    )
    async def replace(alert_id: AlertId, new: NewAlert) -> ShownAlert:
        """Let it look for this instead. Its state stays until it is judged anew."""
        wanted, keeps = await defined(new), new.webhook is None
        try:
            return as_shown(
                await to_thread.run_sync(
                    lambda: book.replace(alert_id, wanted, keeps_webhook=keeps)
                )
            )
        except AlertError as error:
            raise HTTPException(422, str(error)) from None
        except KeyError:
            raise _no_alert(alert_id) from None

    @app.delete(
        "/alerts/{alert_id}",
        summary="Remove an alert",
        tags=["alerts"],
        status_code=204,
        responses={**ROUTES, **_NO_ALERT},
    )
    async def remove(alert_id: AlertId) -> None:
        """Forget it, its history, and what was not sent yet."""
        try:
            await to_thread.run_sync(book.remove, alert_id)
        except KeyError:
            raise _no_alert(alert_id) from None


def _no_alert(alert_id: int) -> HTTPException:
    return HTTPException(404, f"There is no alert {alert_id}.")
