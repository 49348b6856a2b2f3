"""How an answer is given: from the cache if there is one, and not again to who has it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Hashable
from hashlib import blake2b

from fastapi import Request, Response
from pydantic import BaseModel

from connectors.answers import Answer, Answers

_TAG = re.compile(r'(?:W/)?("[^"]*")')


async def answer(
    request: Request,
    answers: Answers | None,
    customer: str | None,
    question: Hashable,
    make: Callable[[], Awaitable[BaseModel]],
) -> Response:
    """The answer to a question about one customer (None: all) as JSON.

    It has an `ETag`, with a cache its `Age`, and is a 304 to who has it (RFC 9110, 13.1.2;
    RFC 9111, 5.1).
    """

    async def body() -> bytes:
        return (await make()).model_dump_json().encode()

    if answers is None:
        given, headers = Answer(await body()), {}
    else:
        given = await answers.get(customer, question, body)
        headers = {"Age": str(int(given.age))}
    tag = f'"{blake2b(given.body, digest_size=16).hexdigest()}"'
    headers |= {"ETag": tag, "Cache-Control": "no-cache"}  # it may be kept, and is asked for anew
    wanted = request.headers.get("if-none-match", "")
    if wanted.strip() == "*" or tag in _TAG.findall(wanted):
        return Response(status_code=304, headers=headers)
    return Response(given.body, media_type="application/json", headers=headers)
