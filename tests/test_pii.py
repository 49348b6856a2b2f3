"""What `PII` hides is in no row, no dead letter, no answer and no byte of the store."""

from __future__ import annotations

import hmac
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from connectors.batch import Parsed
from connectors.encodings import Encoding
from connectors.sources.records import taken
from flows.pii import NOT_SHOWN
from flows.settings import ParsingSettings
from flows.steps import parse_and_enrich, parse_step
from settings import Settings
from tests.conftest import Pipeline
from tests.parsing_checks import piece
from tests.test_audit import logwax

KEY = "a key that nobody knows"


def parsed(
    pii: str, *lines: bytes | dict[str, object], enrich: bool = False, **more: Any
) -> Parsed:
    """What lines become, those of JSON with a time."""
    settings = Settings(**{"pii": pii, "pii_key": KEY, "log_format": "json", **more})
    texts = [
        line if isinstance(line, bytes) else json.dumps({"ts": 1760000000, **line}).encode()
        for line in lines
    ]
    data = b"".join(text + b"\n" for text in texts)
    step = (parse_and_enrich if enrich else parse_step)(settings)
    return step(taken([piece(data)], Encoding("utf-8"), 1024 * 1024))


def message(pii: str, text: str) -> str:
    return str(parsed(pii, {"msg": text}).rows["message"][0])


def hashed(value: str) -> str:
    return hmac.digest(KEY.encode(), value.encode(), "sha256").hex()[:16]


@pytest.mark.parametrize(
    ("pii", "text", "expected"),
    [
        ("email=mask", "to alice+x@mail.example.com, sent", "to <email>, sent"),
        ("email=mask", "?to=bob%40example.com&x=1", "?to=<email>&x=1"),
        ("email=mask", "jürgen@bücher.example", "<email>"),
        ("email=drop", "<carol@example.org>", "<>"),
        ("email=hash", "by dave@example.net", f"by {hashed('dave@example.net')}"),
        ("email=mask", "lodash@4.17.21 a@b user@host", "lodash@4.17.21 a@b user@host"),
        ("card=mask", "card 4111 1111 1111 1111 12/27", "card <card> 12/27"),
        ("card=mask", "378282246310005", "<card>"),
        ("card=mask", "7 5500-0055-5555-5559", "7 <card>"),
        ("card=mask", "order 4111111111111112", "order 4111111111111112"),  # Luhn says no
        ("card=mask", "at 1764241234567 x4111111111111111", "at 1764241234567 x4111111111111111"),
        ("token=mask", "Authorization: Bearer abc.def-123", "Authorization: Bearer <token>"),
        ("token=mask", "authorization: Basic dXNlcjpwYXNz", "authorization: Basic <token>"),
        ("token=mask", "x eyJhbGciOi.eyJzdWIiOi.c2ln y", "x <token> y"),
        ("token=mask", "key AKIAIOSFODNN7EXAMPLE.", "key <token>."),
        ("token=mask", "?access_token=ab12&page=2", "?access_token=<token>&page=2"),
        ("token=mask", "client_secret%3Dab12 x", "client_secret%3D<token> x"),
        ("token=mask", 'password: "two words" x', 'password: "<token>" x'),
        ("token=drop", "API_KEY=ab12, x", "API_KEY=, x"),
        ("token=mask", "postgres://shop:pw@db:5432/x", "postgres://shop:<token>@db:5432/x"),
        ("token=mask", "max_tokens=100 tokenizer: x", "max_tokens=100 tokenizer: x"),
        ("address=mask", "from 203.0.113.77:22", "from 203.0.113.0:22"),
        ("address=mask", "2001:db8:1:2::5: refused", "2001:db8:1::: refused"),
        ("address=mask", "[2001:db8:1:2:3:4:5:6]:443", "[2001:db8:1::]:443"),
        ("address=mask", "::ffff:203.0.113.9", "::ffff:203.0.113.0"),
        ("address=hash", "203.0.113.7 up", f"{hashed('203.0.113.7')} up"),
        ("address=mask", "12:34:56 00:1b:44:11:3a:b7 v1.2.3.4 std::x 1.2.3", None),
        ("address=mask,email=mask", "203.0.113.7 a@example.com", "203.0.113.0 <email>"),
    ],
)
def test_a_pattern_hides_what_it_finds_in_a_text(pii: str, text: str, expected: str | None) -> None:
    assert message(pii, text) == (text if expected is None else expected)


@pytest.mark.parametrize("text", ["a" * 500_000, "1 " * 250_000, "eyJ" * 150_000, "1:" * 250_000])
def test_no_text_takes_long(text: str) -> None:
    pii = "email=mask,token=mask,card=mask,address=mask"
    assert message(pii, f"{text}@ ::") == f"{text}@ ::"


def test_a_column_is_dropped_masked_or_hashed() -> None:
    line = {"client_ip": "203.0.113.77", "customer": "c1", "ua": "curl", "path": "/a"}
    batch = parsed("client_ip=mask,customer_id=hash,user_agent=drop", line, {"path": "/b"})
    first, second = batch.rows.to_dicts()
    assert (first["client_ip"], first["customer_id"]) == ("203.0.113.0", hashed("c1"))
    assert (first["user_agent"], first["request_path"]) == ("", "/a")
    assert (second["client_ip"], second["customer_id"]) == ("", "")  # of nothing comes nothing


def test_a_second_value_for_a_column_is_hidden_in_the_attributes_too() -> None:
    line = {"client_ip": "203.0.113.77", "remote_addr": "203.0.113.78", "x": 1}
    [row] = parsed("client_ip=hash", line).rows.to_dicts()
    assert json.loads(row["attributes"]) == {"remote_addr": hashed("203.0.113.78"), "x": 1}


def test_attributes_are_hidden_by_key_and_by_pattern_at_any_depth() -> None:
    line = {
        "email": "alice@example.com",
        "user": {"name": "Alice", "id": 7},
        "deep": [{"to": ["bob@example.com"]}, {"bob@example.com": 1}],
        "auth": {"password": 'pa"ss', "pin": None, "api_key": 12345},
        "paid": 4111111111111111,
        "other": 1.5,
    }
    pii = "attributes.email=hash,attributes.user.name=drop,email=mask,token=mask,card=mask"
    [row] = parsed(pii, line).rows.to_dicts()
    assert json.loads(row["attributes"]) == {
        "email": hashed("alice@example.com"),
        "user": {"id": 7},
        "deep": [{"to": ["<email>"]}, {"<email>": 1}],
        "auth": {"password": "<token>", "pin": None, "api_key": "<token>"},
        "paid": "<card>",
        "other": 1.5,
    }


def test_a_line_that_is_too_long_is_hidden_when_it_is_backfilled(pipeline: Pipeline) -> None:
    log = pipeline.directory / "a.log"
    log.write_bytes(b"card 4111 1111 1111 1111 " + b"x" * 3000 + b"\n")
    settings = {**LOG, "LOG_PATHS": "b.log", "LOG_MAX_LINE_BYTES": "1024", "PII": "card=mask"}
    done = logwax(pipeline, "backfill", "a.log", **settings)
    assert done.returncode == 0, done.stderr
    assert "<card>" in logwax(pipeline, "dead", **settings).stdout


def test_what_has_nothing_to_hide_stays_as_it_is_written() -> None:
    line = b'{"ts":1760000000,"msg":"ok","n":1.50,"t":"\\u00e9"}'
    [with_rules] = parsed("email=mask,client_ip=drop", line).rows.to_dicts()
    [without] = parsed("", line).rows.to_dicts()
    assert with_rules == without


def test_bytes_of_a_line_that_is_no_text_are_not_kept_beside_it() -> None:
    [row] = parsed(
        "email=mask", b'{"ts":1760000000,"msg":"\xff alice@example.com"}'
    ).rows.to_dicts()
    assert row["message"] == "\ufffd <email>"
    assert row["attributes"] == "{}"


def test_enrichers_see_what_is_left() -> None:
    [row] = parsed(
        "email=mask", {"msg": "a@example.com came", "path": "/u/a@example.com"}, enrich=True
    ).rows.to_dicts()
    assert row["endpoint"] == "/u/<email>"
    assert row["pattern"] == "<email> came"


def test_a_dead_letter_has_no_more_of_a_line_than_a_row() -> None:
    text = b"alice@example.com paid with 4111 1111 1111 1111 \xff"
    [letter] = parsed("email=mask,card=drop", text).rejected.to_dicts()
    assert letter["raw"] == b"<email> paid with  \xff"
    assert (letter["reason"], letter["detail"]) == ("bad_json", NOT_SHOWN)


def test_of_a_dead_letter_nothing_is_kept_where_a_column_is_hidden() -> None:
    [letter] = parsed("customer_id=hash", b"cust_1 broke it").rejected.to_dicts()
    assert (letter["raw"], letter["reason"], letter["detail"]) == (b"", "bad_json", NOT_SHOWN)


def test_a_value_that_the_cut_of_a_long_line_goes_through_is_not_kept() -> None:
    text = b"x " * 505 + b"alice@example.com" + b"y" * 1024 * 1024
    [letter] = parsed("email=mask", text).rejected.to_dicts()
    assert letter["reason"] == "too_long"
    assert letter["raw"] == b"x " * 505


def test_a_row_that_the_store_refuses_is_a_dead_letter_without_it() -> None:
    batch = parsed("email=mask", {"msg": "alice@example.com"})
    refused = batch.rows.select("file_id", "offset", "line").with_columns(detail=pl.lit("no"))
    [letter] = batch.reject(refused).to_dicts()
    assert b"alice" not in letter["raw"]
    assert (letter["reason"], letter["detail"]) == ("rejected", "no")


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ValueError) as caught:
        ParsingSettings(pii="emial=mask,card=hide,client_ip=hash,status_code=mask,email")
    told = str(caught.value)
    assert "'emial' is neither a pattern nor a column of text; did you mean email?" in told
    assert "'card=hide' does not say what to do: card= drop or hash or mask" in told
    assert "'status_code' is neither" in told
    assert "'email' does not say" in told
    assert "hash needs a key: PII_KEY" in told


LOG = {"STORE": "sqlite", "INSTANCE": "web-1", "LOG_FORMAT": "json", "LOG_PATHS": "a.log"}
SECRETS = ("alice@example.com", "4111111111111111", "203.0.113.77", "hunter2", "cust_77")


def write_secrets(directory: Path, name: str) -> None:
    rows = [
        {"ts": f"2026-11-01T10:00:0{n}Z", "msg": f"{n} alice@example.com password=hunter2"}
        | {"client_ip": "203.0.113.77", "customer": "cust_77", "card": "4111111111111111"}
        for n in range(5)
    ]
    lines = [json.dumps(row).encode() for row in rows]
    broken = [line[:-1] for line in lines] + [b"alice@example.com \xff 203.0.113.77"]
    odd = [lines[0].replace(b'"0 ', b'"\xff ')]
    (directory / name).write_bytes(b"".join(line + b"\n" for line in [*lines, *odd, *broken]))


@pytest.mark.parametrize(
    "pii",
    [
        "email=mask,card=mask,token=drop,client_ip=hash,customer_id=hash",
        "email=hash,card=drop,token=mask,address=mask,attributes.customer=drop,customer_id=mask",
    ],
)
def test_no_byte_of_the_store_has_it(pipeline: Pipeline, pii: str) -> None:
    write_secrets(pipeline.directory, "a.log")
    done = pipeline.run(**LOG, PII=pii, PII_KEY=KEY)
    assert done.stdout.startswith("lines=12 stored=6 dead=6"), done.stderr
    kept = [path for path in (pipeline.directory / "data").rglob("*") if path.is_file()]
    told = done.stdout.encode() + done.stderr.encode() + KEY.encode()
    found = b"".join(path.read_bytes() for path in kept) + told
    assert [secret for secret in SECRETS if secret.encode() in found] == []


def test_no_answer_shows_it_though_the_file_has_it(pipeline: Pipeline) -> None:
    write_secrets(pipeline.directory, "a.log")
    pii = "email=mask,card=mask,token=drop,address=mask,attributes.customer=drop,customer_id=drop"
    pipeline.start(**LOG, PII=pii, PII_KEY=KEY)
    pipeline.wait_until_healthy()
    pipeline.wait_until_stored(12)
    row = pipeline.get("/logs?limit=1&order=oldest").json()["rows"][0]
    shown = pipeline.get(f"/logs/{row['file_id']}/{row['offset']}?before=50&after=50")
    assert (len(shown.json()["after"]), shown.json()["from"]) == (11, "store")
    told = shown.text + pipeline.get("/dead-letters").text + pipeline.get("/health").text
    assert [secret for secret in SECRETS if secret in told] == []
