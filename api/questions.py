"""Questions to a store in its own language: some at a time, none of which nobody waits any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from anyio import CancelScope, CapacityLimiter, create_task_group, sleep, to_thread
from starlette.requests import Request

from connectors.accounts import Formatted, FormattedAccounts, Question
from connectors.errors import StoreError

AT_ONCE = 4
"""Questions that are answered at a time; others wait."""

_AGAIN = 0.1  # seconds between two attempts to stop a question that nobody waits for

T = TypeVar("T")


class Questions:
    """Asks one store for clients that may go before there is an answer."""

    def __init__(self, accounts: FormattedAccounts) -> None:
        self._accounts = accounts
        self._limiter = CapacityLimiter(AT_ONCE)

    async def ask(
        self, request: Request, question: Question, made: Callable[[Formatted], T]
    ) -> T | None:
        """What is `made` of the answer, in a thread; None if the client has gone.

        Raises `RefusedError`.
        """
        found: T | StoreError | None = None
        waiting = CancelScope()

        async def give_up_when_the_client_goes() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            waiting.cancel()  # for its turn
            while True:  # it may be just about to begin
                await to_thread.run_sync(self._accounts.give_up, question)
                await sleep(_AGAIN)

        async with create_task_group() as group:
            group.start_soon(give_up_when_the_client_goes)
            with waiting:
                try:
                    found = await to_thread.run_sync(
                        lambda: made(self._accounts.formatted(question)), limiter=self._limiter
                    )
                except StoreError as error:  # in a group it would become another
                    found = error
            group.cancel_scope.cancel()
        if isinstance(found, StoreError):
            raise found
        return found
