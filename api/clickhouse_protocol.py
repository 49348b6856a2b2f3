"""ClickHouse's HTTP protocol, read-only: what `QUERY_PORT` serves to ClickHouse's own clients.

Of https://clickhouse.com/docs/interfaces/http what asks: the statement in `query`, in the body, or
in both; its parameters, a database, a format, the user's key; the summary, and errors by code.
"""

from __future__ import annotations

import gzip
import json
import re
import time
import uuid
from base64 import b64decode
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace

from python_multipart.exceptions import FormParserError
from starlette.applications import Starlette
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from api.access import Tokens
from api.questions import Questions
from connectors.accounts import Formatted, FormattedAccounts, Question, RefusedError
from connectors.errors import StoreError

_MOST_BYTES = 1024 * 1024
"""Of a statement; the engine itself takes fewer."""

_WORTH_GZIP = 1024  # bytes

_PARAMETER = "param_"

# What tells a server how to answer, not the engine what to do.
_OF_TRANSPORT = {
    "add_http_cors_header",
    "buffer_size",
    "cancel_http_readonly_queries_on_client_close",
    "client_protocol_version",
    "database",
    "default_format",
    "enable_http_compression",
    "http_headers_progress_interval_ms",
    "password",
    "query",
    "query_id",
    "quota_key",
    "send_progress_in_http_headers",
    "session_check",
    "session_id",
    "session_timeout",
    "user",
    "wait_end_of_query",
}

# Go's driver asks this first, in blocks of `client_protocol_version`. All that it asks then, it
# reads in blocks of the revision that this answer tells: the engine writes those of revision 0.
FIRST = "SELECT displayName(), version(), revision(), timezone()"

_NOT_OF_A_HEADER = re.compile(r"[^ -~]|^ | $")  # RFC 9110, 5.5; ASCII

_STATUS = {
    46: 404,  # UNKNOWN_FUNCTION
    47: 404,  # UNKNOWN_IDENTIFIER
    60: 404,  # UNKNOWN_TABLE
    62: 400,  # SYNTAX_ERROR
    73: 404,  # UNKNOWN_FORMAT
    81: 404,  # UNKNOWN_DATABASE
    158: 400,  # TOO_MANY_ROWS
    159: 408,  # TIMEOUT_EXCEEDED
    164: 403,  # READONLY
    307: 400,  # TOO_MANY_BYTES
    396: 400,  # TOO_MANY_ROWS_OR_BYTES
    497: 403,  # ACCESS_DENIED
    516: 403,  # AUTHENTICATION_FAILED
}
"""Of error codes; else 500."""

_TYPES = {"CSV": "text/csv", "JSON": "application/json", "Tab": "text/tab-separated-values"}
"""Of formats whose names begin so."""


def create_query_app(accounts: FormattedAccounts, keys: Tokens) -> Starlette:
    """The protocol over one store. A key that is given must be of `keys`, whoever the user is."""
    questions = Questions(accounts)

    async def ask(request: Request) -> Response:
        query_id = request.query_params.get("query_id") or str(uuid.uuid4())
        headers = {
            "X-ClickHouse-Query-Id": _NOT_OF_A_HEADER.sub("?", query_id),
            "X-ClickHouse-Timezone": "UTC",
            "X-Content-Type-Options": "nosniff",
        }
        try:
            _authenticate(request, keys)
            question = _question(*await _given(request))
            if not question.sql:
                return PlainTextResponse("Ok.\n", headers=headers)
            began = time.monotonic_ns()
            accepts_gzip = "gzip" in request.headers.get("Accept-Encoding", "")
            greets = question.sql == FIRST and question.format == "Native"
            if greets:
                question = replace(question, sql="SELECT version()", format="RawBLOB")

            def made(answer: Formatted) -> tuple[Formatted, bytes]:
                if greets:
                    answer = replace(answer, data=greeting(answer.data), format="Native")
                return answer, _sent(answer, accepts_gzip)

            answered = await questions.ask(request, question, made)
            if answered is None:
                return Response(status_code=499)  # which nobody reads
            answer, data = answered
        except StoreError as error:
            return _refused(error, headers)
        progress = {
            "read_rows": answer.read_rows,
            "read_bytes": answer.read_bytes,
            "elapsed_ns": time.monotonic_ns() - began,
        }
        if request.query_params.get("send_progress_in_http_headers", "0") not in ("0", "false"):
            headers["X-ClickHouse-Progress"] = _as_texts(progress)  # once, with the answer
        headers |= {
            "X-ClickHouse-Format": answer.format,
            "X-ClickHouse-Summary": _as_texts({**progress, "result_bytes": len(answer.data)}),
            "Vary": "Accept-Encoding",
            "Content-Type": _content_type(answer.format),
        }
        if data is not answer.data:
            headers["Content-Encoding"] = "gzip"
        return Response(data, headers=headers)

    async def ping(request: Request) -> Response:
        return PlainTextResponse("Ok.\n")

    return Starlette(routes=[Route("/ping", ping), Route("/", ask, methods=["GET", "POST"])])


def _sent(answer: Formatted, accepts_gzip: bool) -> bytes:
    """What is sent of an answer."""
    if accepts_gzip and len(answer.data) >= _WORTH_GZIP:
        return gzip.compress(answer.data, 1)
    return answer.data


def greeting(version: bytes) -> bytes:
    """The answer to `FIRST`, as one block of any revision from 54454 on.

    Its info (no totals, bucket -1), how many columns and rows, and of each column its name, its
    type, that it is written as usual, and its value. Source: `NativeWriter` of ClickHouse.
    """
    columns = (
        (b"displayName()", b"String", _text(b"Logwax")),
        (b"version()", b"String", _text(version)),
        (b"revision()", b"UInt32", bytes(4)),
        (b"timezone()", b"String", _text(b"UTC")),
    )
    written = [_text(name) + _text(kind) + b"\0" + value for name, kind, value in columns]
    return b"\1\0\2\xff\xff\xff\xff\0" + bytes([len(columns), 1]) + b"".join(written)


def _text(value: bytes) -> bytes:
    return bytes([len(value)]) + value  # fewer than 128


def _authenticate(request: Request, keys: Tokens) -> None:
    given = _key_given(request)
    if (given or keys.needed) and not keys.know(given):
        if keys.needed and given and hasattr(request.state, "wrong_token"):  # there is a gate
            request.state.wrong_token()
        raise RefusedError(
            516,
            "Authentication failed: the key of any user is API_TOKEN, or what DATA_DIR/read.token "
            "holds. (AUTHENTICATION_FAILED)",
        )


def _key_given(request: Request) -> str:
    scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            return b64decode(rest.strip()).decode().partition(":")[2]
        except ValueError:
            return rest
    if scheme.lower() == "bearer":
        return rest.strip()
    return request.headers.get("X-ClickHouse-Key") or request.query_params.get("password", "")


async def _given(request: Request) -> tuple[dict[str, str], str]:
    """What stands in the address, or in a form (RFC 7578), and the statement in the body."""
    given, body = dict(request.query_params), await _body(request)
    if not request.headers.get("Content-Type", "").startswith("multipart/form-data"):
        try:
            return given, body.decode()
        except UnicodeDecodeError:
            raise RefusedError(62, "The statement is no UTF-8. (SYNTAX_ERROR)") from None

    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        form = await MultiPartParser(
            request.headers, whole(), max_files=0, max_part_size=_MOST_BYTES
        ).parse()
    except (MultiPartException, FormParserError, KeyError) as error:
        why = f"A form has parameters only, as RFC 7578 has them: {error}. (NOT_IMPLEMENTED)"
        raise RefusedError(48, why) from None
    return given | {name: value for name, value in form.items() if isinstance(value, str)}, ""


async def _body(request: Request) -> bytes:
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise RefusedError(48, "A statement is taken uncompressed only. (NOT_IMPLEMENTED)")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BYTES:
            raise RefusedError(307, f"A statement has up to {_MOST_BYTES} bytes. (TOO_MANY_BYTES)")
    return body


def _question(given: Mapping[str, str], body: str) -> Question:
    for name in ("compress", "decompress"):
        if given.get(name, "0") != "0":
            raise RefusedError(48, f"{name} is for ClickHouse's own blocks. (NOT_IMPLEMENTED)")
    sql = "\n".join(part for part in (given.get("query", ""), body) if part.strip())
    parameters = {
        name.removeprefix(_PARAMETER): value
        for name, value in given.items()
        if name.startswith(_PARAMETER)
    }
    settings = {
        name: value
        for name, value in given.items()
        if not (name in _OF_TRANSPORT or name.startswith(_PARAMETER) or "compress" in name)
    }
    return Question(
        sql,
        given.get("default_format") or "TabSeparated",
        given.get("database", ""),
        parameters,
        settings,
    )


def _refused(error: StoreError, headers: dict[str, str]) -> Response:
    code = error.code if isinstance(error, RefusedError) else 1001
    text = str(error)
    if not text.startswith("Code: "):
        text = f"Code: {code}. DB::Exception: {text}"
    headers |= {"X-ClickHouse-Exception-Code": str(code)}
    return PlainTextResponse(f"{text}\n", _STATUS.get(code, 500), headers)


def _as_texts(figures: Mapping[str, int]) -> str:
    texts = {name: str(value) for name, value in figures.items()}
    return json.dumps(texts, separators=(",", ":"))


def _content_type(name: str) -> str:
    if name.startswith("JSON") and "EachRow" in name:
        return "application/x-ndjson"
    found = (kind for begins, kind in _TYPES.items() if name.startswith(begins))
    return next(found, "application/octet-stream")
