"""How an answer is given: from the cache if there is one, and not again to who has it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Hashable
from hashlib import blake2b

from fastapi import Request, Response
from pydantic import BaseModel

from api.completeness import Completing
from api.days import Days
from connectors.answers import Answer, Answers

_TAG = re.compile(r'(?:W/)?("[^"]*")')


async def answer(
    request: Request,
    answers: Answers | None,
    completing: Completing,
    customer: str | None,
    days: Days,
    question: Hashable,
    make: Callable[[], Awaitable[BaseModel]],
) -> Response:
    """The answer to a question about one customer (None: all) as JSON.

    It has an `ETag`, with a cache its `Age`, and is a 304 to who has it (RFC 9110, 13.1.2;
    RFC 9111, 5.1). The tag is of the figures: how complete they are is said as of now, also of an
    answer that was kept, which a write that is told of would have ended.
    """

    async def body() -> bytes:
        return (await make()).model_dump_json(exclude={"completeness"}).encode()

    async def give() -> Answer:
        return await answers.get(customer, question, body) if answers else Answer(await body())

    given, completeness = await completing.beside(*days.microseconds, give())
    digest = f'"{blake2b(given.body, digest_size=16).hexdigest()}"'
    # It may be kept, and is asked for anew.
    headers = {"ETag": f"W/{digest}", "Cache-Control": "no-cache"}
    if answers:
        headers["Age"] = str(int(given.age))
    wanted = request.headers.get("if-none-match", "")
    if wanted.strip() == "*" or digest in _TAG.findall(wanted):
        return Response(status_code=304, headers=headers)
    rest = f',"completeness":{completeness.model_dump_json()}}}'
    whole = given.body.removesuffix(b"}") + rest.encode()
    return Response(whole, media_type="application/json", headers=headers)
