"""The API against its own description: whatever it is asked, its answers are those of `/docs`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import strategies as st
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient

from api.alert_book import AlertBook
from api.app import Pipeline, create_app
from connectors.status import SourceStatus, Status
from tests.test_logs_api import HOSTILE, ROWS, insert, open_made

pytestmark = pytest.mark.filterwarnings("ignore:.*httpx2")

CHECKS = [
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]
WANTED_FAILURES = {501, 503}

# What has a meaning in a parameter of that name, and then goes wrong further inside.
ASKED = {
    "filter": [
        *(f'message ~ "{text}"' for text in ("it's", "a\\\\", "%", "{v0:String}", "ü\\n")),
        "attr.user > -1e308 and not attr.user = 1e999",
        f"status_code >= {10**400} or offset = -{10**30} or file_id = {2**64}",
        'timestamp > "9999-12-31T23:59:59Z" and timestamp < "0001-01-01"',
        "(" * 200 + "level" + ")" * 200,
        "not " * 2000 + "x",
        *HOSTILE,
    ],
    "from": ["0001-01-01", "2024-01-01", "9999-12-31T23:59:59.999999Z", "2024-02-30", "-1"],
    "to": ["0001-01-01", "2024-01-02", "9999-12-31T23:59:59.999999Z", "1e9", "NaT"],
    "cursor": ["AAAA", "=" * 40, "e30=", "%00", "W10"],
    "columns": ["level,host,attr.user", "attr.", "raw", "level," * 200, "no such", *HOSTILE],
    "customer_id": HOSTILE,
}


@pytest.fixture(scope="module", params=["embedded", "sqlite"])
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    directory = tmp_path_factory.mktemp(request.param)
    store = open_made(request.param, directory)
    insert(store, ROWS)
    assert store.reader
    status = Status()
    beside = Pipeline(status, SourceStatus, sees_writes=True)
    yield create_app(store.reader, beside, AlertBook(directory))
    store.close()


@pytest.fixture(scope="module")
def schema(app: FastAPI) -> BaseSchema:
    return schemathesis.openapi.from_asgi("/openapi.json", app)


def ends(operation: APIOperation) -> bool:
    """Whether its answer has an end."""
    return "text/event-stream" not in str(operation.definition.raw["responses"])


def test_whatever_is_asked_the_answer_is_one_that_is_described(
    app: FastAPI, schema: BaseSchema, soak: bool
) -> None:
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) >= 10
    with TestClient(app) as client:
        for operation in filter(ends, operations):
            ask(operation, client, 1000 if soak else 5)


def ask(operation: APIOperation, client: TestClient, examples: int) -> None:
    cases = st.one_of(
        operation.as_strategy(generation_mode=mode) for mode in schemathesis.GenerationMode
    )

    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=examples < 100,  # the same in every default run
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(cases, st.data())
    def is_described(case: schemathesis.Case, data: st.DataObject) -> None:
        for given in (case.query, case.path_parameters):
            for name in sorted(set(given or ()) & set(ASKED)):
                if data.draw(st.booleans(), label=f"another {name}"):
                    given[name] = data.draw(st.sampled_from(ASKED[name]), label=name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer = case.call(session=client)
        assert answer.status_code < 500 or answer.status_code in WANTED_FAILURES, answer.text
        assert b"Traceback" not in answer.content  # which may be Arrow
        case.validate_response(answer, checks=CHECKS)

    is_described()
