"""How an answer is given: from the cache if there is one, and not again to who has it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Hashable
from hashlib import blake2b
from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel

from api.completeness import Completing
from connectors.answers import Answer, Answers

ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": {
            "ETag": {"description": "Of this answer.", "schema": {"type": "string"}},
            "Age": {
                "description": "Seconds since it was made, where answers are kept.",
                "schema": {"type": "integer"},
            },
        }
    },
    304: {"description": "`If-None-Match` has the `ETag` of the answer."},
}
"""What `/docs` says of what `answer` gives."""

_TAG = re.compile(r'(?:W/)?("[^"]*")')


async def answer(
    request: Request,
    answers: Answers | None,
    completing: Completing,
    customer: str | None,
    span: tuple[int, int],
    question: Hashable,
    make: Callable[[], Awaitable[BaseModel]],
) -> Response:
    """The answer to a question about one customer (None: all) as JSON.

    `span`: of its rows, in microseconds since 1970; dead letters are counted there.
    It has an `ETag`, with a cache its `Age`, and is a 304 to who has it (RFC 9110, 13.1.2;
    RFC 9111, 5.1). The tag is of the figures: how complete they are is said as of now, also of an
    answer that was kept, which a write that is told of would have ended.
    """

    async def body() -> bytes:
        made = await make()
        return made.model_dump_json(by_alias=True, exclude={"completeness"}).encode()

    async def give() -> Answer:
        return await answers.get(customer, question, body) if answers else Answer(await body())

    given, completeness = await completing.beside(*span, give())
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
