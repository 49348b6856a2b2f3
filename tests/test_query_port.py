"""`QUERY_PORT`: ClickHouse's clients ask the embedded store while the pipeline runs."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import socket
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path

import clickhouse_connect
import httpx
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from api.access import Tokens
from api.clickhouse_protocol import create_query_app
from api.limits import WRONG_TOKENS
from api.server import ApiServer
from connectors.preflight import problems
from settings import Settings
from tests.browser import NODE, node_modules
from tests.conftest import DEADLINE, Pipeline, find_port, wait_for
from tests.refused_questions import REFUSED

LINE = "2026-11-01 10:00:00 cust_{} /orders/{} 200 0.5\n"
Ask = Callable[..., httpx.Response]


def write(pipeline: Pipeline, first: int, last: int) -> None:
    with (pipeline.directory / "a.log").open("a") as log:
        log.writelines(LINE.format(number, number) for number in range(first, last))


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pipeline, int]]:
    """A pipeline with ten rows, and its `QUERY_PORT`."""
    made, port = Pipeline(tmp_path_factory.mktemp("asked"), find_port()), find_port()
    write(made, 0, 10)
    process = made.start(LOG_PATHS="a.log", QUERY_PORT=port)
    made.wait_until_healthy()
    made.wait_until_stored(10)
    yield made, port
    process.kill()
    process.communicate()


@pytest.fixture
def ask(asked: tuple[Pipeline, int]) -> Iterator[Ask]:
    """Asks by `GET`, or with a body by `POST`."""
    with httpx.Client(
        base_url=f"http://127.0.0.1:{asked[1]}", timeout=DEADLINE, trust_env=False
    ) as client:

        def ask(
            body: str = "", headers: dict[str, str] | None = None, **params: object
        ) -> httpx.Response:
            method = "POST" if body else "GET"
            content = body.encode() or None
            texts = {name: str(value) for name, value in params.items()}
            return client.request(method, "/", params=texts, content=content, headers=headers)

        yield ask


@pytest.fixture
def client(asked: tuple[Pipeline, int]) -> Iterator[Client]:
    made = clickhouse_connect.get_client(host="127.0.0.1", port=asked[1])
    yield made
    made.close()


def test_clickhouses_own_client_asks_what_has_just_been_stored(
    asked: tuple[Pipeline, int], client: Client
) -> None:
    def count() -> int:
        return int(client.query("SELECT count() FROM logs").first_row[0])

    before = count()
    write(asked[0], 100, 105)
    wait_for(lambda: count() == before + 5, "five more rows")

    hostile = "it's \t\n\\N \\' %s {a:String} \x00 ü"
    sql = "SELECT {a:String}, {b:Array(String)}, {c:Nullable(UInt8)}, {d:DateTime}"
    values = {"a": hostile, "b": [hostile, ""], "c": None, "d": "2026-11-01 10:00:00"}
    [row] = client.query(sql, values).result_rows
    assert row[:3] == (hostile, [hostile, ""], None)
    table = client.query_arrow("SELECT customer_id FROM logs ORDER BY offset LIMIT 2")
    assert table.to_pydict() == {"customer_id": ["cust_0", "cust_1"]}
    with client.query_rows_stream("SELECT number FROM numbers(200000)") as rows:
        assert sum(1 for _ in rows) == 200_000
    assert client.command("EXISTS TABLE logs") == 1
    assert client.query("DESCRIBE TABLE logs").first_row[0] == "timestamp"
    with pytest.raises(DatabaseError) as refusal:
        client.query("SELECT * FROM nowhere")
    assert refusal.value.code == 60


def test_a_statement_comes_in_the_address_in_the_body_or_in_both(ask: Ask) -> None:
    assert ask().text == "Ok.\n"
    assert ask(query="SELECT 1, 'a'").text == "1\ta\n"
    assert ask("SELECT 2 -- two").text == "2\n"
    assert ask("FROM numbers(3) -- rows", query="SELECT count() -- of").text == "3\n"
    found = ask(query="SELECT count() FROM one", database="system")
    assert found.text == "1\n"
    assert ask(query="SELECT count() > 0 FROM logs").text == "1\n"  # no database is kept


def test_the_format_is_the_statements_own_else_the_default(ask: Ask) -> None:
    found = ask(query="SELECT 1 AS a FORMAT JSONEachRow", default_format="CSV")
    assert (found.json(), found.headers["X-ClickHouse-Format"]) == ({"a": 1}, "JSONEachRow")
    assert found.headers["Content-Type"] == "application/x-ndjson"
    assert json.loads(found.headers["X-ClickHouse-Summary"])["result_bytes"] == "8"
    found = ask(query="SELECT 'a,b', toUInt64(1)", default_format="CSV", query_id="mine")
    assert (found.text, found.headers["X-ClickHouse-Query-Id"]) == ('"a,b",1\n', "mine")
    found = ask(query="SELECT 1", query_id="a\r\nX-Evil: ü")
    assert (found.text, found.headers["X-ClickHouse-Query-Id"]) == ("1\n", "a??X-Evil: ?")
    for name in ("Nothing", "CSV INTO OUTFILE 'a'", "CSV\nSETTINGS readonly = 0"):
        refused = ask(query="SELECT 1", default_format=name)
        assert refused.headers["X-ClickHouse-Exception-Code"] == "73", name

    quoted = {"output_format_json_quote_64bit_integers": 1}
    assert ask("SELECT toUInt64(1) AS a FORMAT JSONEachRow", **quoted).text == '{"a":"1"}\n'


def test_an_answer_says_how_much_was_read_for_it(ask: Ask) -> None:
    sql = "SELECT sum(number) FROM numbers(100000)"
    found = ask(sql, send_progress_in_http_headers=1)
    for name in ("Summary", "Progress"):
        said = json.loads(found.headers[f"X-ClickHouse-{name}"])
        assert (said["read_rows"], said["read_bytes"]) == ("100000", "800000")
        assert int(said["elapsed_ns"]) > 0
    again = ask("SELECT 1")
    assert json.loads(again.headers["X-ClickHouse-Summary"])["read_rows"] == "1"
    assert "X-ClickHouse-Progress" not in again.headers


def test_a_long_answer_is_compressed_for_whoever_takes_that(ask: Ask) -> None:
    sql = "SELECT number FROM numbers(10000)"
    plain = ask(sql, {"Accept-Encoding": "identity"})
    packed = ask(sql, {"Accept-Encoding": "deflate, gzip"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert int(packed.headers["Content-Length"]) < len(plain.content) / 2
    assert packed.content == plain.content


@pytest.mark.parametrize(
    ("sql", "params", "status", "code"),
    [
        ("SELEC 1", {}, 400, 62),
        ("SELECT 1 FROM nowhere", {}, 404, 60),
        ("SELECT 1", {"database": "nowhere"}, 404, 81),
        ("SELECT {a:UInt8}", {"param_a": "many"}, 500, 457),
        ("SELECT {a:UInt8}", {}, 500, 456),
        ("SELECT number FROM numbers(1000001)", {}, 400, 396),
        ("SELECT number FROM numbers(11)", {"max_result_rows": "10"}, 400, 396),
        ("SELECT count() FROM system.numbers", {"max_execution_time": "1"}, 408, 159),
        ("SELECT groupArray(number) FROM numbers(100000000)", {}, 500, 241),
        ("SELECT 1", {"max_memory_usage": "lots"}, 500, 72),
        ("SELECT 1", {"allow_ddl": "1"}, 403, 164),
        ("SELECT 1", {"output_format_schema": "a"}, 403, 164),
        ("SELECT 1", {"compress": "1"}, 500, 48),
        ("SELECT arrayMap({f:Identifier}, ['/etc/passwd'])", {"param_f": "file"}, 403, 164),
        ("SELECT arrayMap({f:Identifier}, ['/etc/passwd'])", {"param_f": "fil\\x65"}, 403, 164),
    ],
)
def test_an_error_has_the_code_of_clickhouse(
    ask: Ask, sql: str, params: dict[str, str], status: int, code: int
) -> None:
    found = ask(sql, **params)
    found_code = found.headers["X-ClickHouse-Exception-Code"]
    assert (found.status_code, found_code) == (status, str(code)), found.text
    assert found.text.startswith(f"Code: {code}. DB::Exception: ")
    assert "Traceback" not in found.text


def test_an_answer_that_failed_half_way_leaves_nothing_in_the_next_one(ask: Ask) -> None:
    for _ in range(3):
        assert ask("SELECT number FROM numbers(1000001)").status_code == 400
        assert ask("SELECT 1").text == "1\n"


def test_the_filters_of_a_dashboard_hold_behind_a_statement_and_beside_it(ask: Ask) -> None:
    """As Grafana's plugin writes them, src/data/adHocFilter.ts."""
    wanted = ask("SELECT count() FROM logs WHERE offset != 0").text
    assert 0 < int(wanted) < int(ask("SELECT count() FROM logs").text)
    filters = "{'logs' : ' offset != \\'0\\' AND message != \\'it\\\\\\'s 5 %\\''}"
    behind = f"\nsettings additional_table_filters={filters}"
    assert ask(f"SELECT count() FROM logs{behind}").text == wanted
    assert ask(f"SELECT count() FROM logs{behind} FORMAT CSV").text == wanted
    assert ask("SELECT count() FROM logs", additional_table_filters=filters).text == wanted
    assert ask("SELECT count() FROM logs").text != wanted  # it holds for one question


@pytest.mark.parametrize(
    "filters",
    [
        "{'logs': 'file(\\'/etc/passwd\\') != \\'\\''}",
        "{'logs': '1', 'logs': 'arrayMap(`file`, [\\'/etc/passwd\\']) != []'}",
        "{'logs': '1 IN (SELECT a FROM url(\\'http://127.0.0.1:1/\\', \\'TSV\\', \\'a UInt8\\'))'}",
        "{'logs': '1'}, readonly = 0",
        "{'logs': '1'}, max_execution_time = 0",
        "{'logs': '1 SETTINGS readonly = 0'}",
        "1",
    ],
)
def test_the_filters_of_a_dashboard_only_ask_what_is_stored(ask: Ask, filters: str) -> None:
    behind = ask(f"SELECT count() FROM logs SETTINGS additional_table_filters = {filters}")
    beside = ask("SELECT count() FROM logs", additional_table_filters=filters)
    for refused in (behind, beside):
        assert refused.status_code in (400, 403, 500), filters
        assert refused.headers["X-ClickHouse-Exception-Code"] in ("62", "164", "170"), refused.text


def test_nothing_that_is_asked_writes_or_reads_what_is_not_stored(
    asked: tuple[Pipeline, int], ask: Ask
) -> None:
    here = asked[0].directory
    file, log = here / "out.tsv", here / "secret.log"
    log.write_text("a secret\n")
    before = ask("SHOW TABLES").text, ask("SELECT count() FROM logs").text
    settings = {"readonly": 0}  # as clients have it that want to write
    for number, sql in enumerate(REFUSED):
        text = sql.replace("{file}", str(file)).replace("{log}", str(log))
        answer = ask(text, **settings) if number % 2 else ask(query=text)
        assert answer.status_code >= 400, sql
        assert int(answer.headers["X-ClickHouse-Exception-Code"]) != 1001, sql
        assert "a secret" not in answer.text, sql
    assert not file.exists()
    assert (ask("SHOW TABLES").text, ask("SELECT count() FROM logs").text) == before


def test_parameters_may_come_as_a_form(asked: tuple[Pipeline, int], ask: Ask) -> None:
    client = clickhouse_connect.get_client(
        host="127.0.0.1", port=asked[1], form_encode_query_params=True
    )
    hostile = "it's \t\r\n\\N --a ü"
    values = {"a": hostile, "b": ["", hostile]}
    [row] = client.query("SELECT {a:String}, {b:Array(String)}", values).result_rows
    assert row == (hostile, ["", hostile])
    client.close()

    def post(content: str, boundary: str = "; boundary=a", name: str = "query") -> httpx.Response:
        part = f'--a\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{content}\r\n--a--\r\n'
        return ask(part, {"Content-Type": f"multipart/form-data{boundary}"}, database="system")

    assert post("SELECT count() FROM one").text == "1\n"
    for refused in (
        post("SELECT 1", name='query"; filename="t'),
        post("SELECT 1", boundary=""),
        post("SELECT 1", boundary="; boundary=other"),
    ):
        assert refused.headers["X-ClickHouse-Exception-Code"] == "48", refused.text
    assert post("INSERT INTO logs SELECT * FROM logs").status_code == 403


def test_what_there_is_can_be_shown_by_a_pattern(ask: Ask) -> None:
    assert ask("SHOW TABLES LIKE '%letters'").text == "dead_letters\n"
    assert ask("SHOW TABLES FROM default NOT ILIKE '%E%' LIMIT 1").text == "logs\n"
    assert ask("SHOW DATABASES LIKE 'it''s'").text == ""
    assert "query_id" in ask("SHOW COLUMNS FROM processes FROM system LIKE 'query_id'").text
    assert ask("SHOW TABLES LIKE 'a' INTO OUTFILE 'b'").status_code >= 400


def test_a_question_ends_when_its_client_has_gone(asked: tuple[Pipeline, int], ask: Ask) -> None:
    def questions() -> int:
        sql = "SELECT count() FROM system.processes WHERE query LIKE '%numbers({}%'"
        return int(ask(sql.format("1000000000000)")).text)

    path = b"/?query=SELECT+sum(number)+FROM+numbers(1000000000000)"
    question = b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % path
    with ExitStack() as connections:
        for _ in range(3):
            made = socket.create_connection(("127.0.0.1", asked[1]))
            connections.enter_context(made).sendall(question)
        wait_for(lambda: questions() == 4, "three questions, and this one")
    # by itself it would end after 60 seconds
    wait_for(lambda: questions() == 1, "the end of what nobody waits for", deadline=30)


GRAFANA = """
SHOW DATABASES
SHOW TABLES FROM "default"
DESC TABLE "default"."logs"
SELECT version()
SELECT timestamp as "timestamp", message as "body", level as "level" FROM "default"."logs"
  WHERE ( timestamp >= {from} AND timestamp <= {to} ) AND (level != 'debug')
  ORDER BY timestamp DESC LIMIT 1000
SELECT toStartOfInterval(toDateTime(src."timestamp"), INTERVAL 1 HOUR) AS "time",
  sum(ifNull(toString(src."level"), '') IN ('error', 'ERROR')) AS "error", count(*) AS "logs"
  FROM ( SELECT timestamp, level FROM "default"."logs" ) AS src
  WHERE toDateTime(src."timestamp") >= {from} AND toDateTime(src."timestamp") <= {to}
  GROUP BY "time" ORDER BY "time" ASC
SELECT toStartOfInterval(toDateTime64(timestamp, 3), INTERVAL 500 millisecond) as "time", endpoint,
  quantile(0.95)(duration) FROM logs WHERE timestamp >= fromUnixTimestamp64Milli(1793520000000)
  GROUP BY "time", endpoint ORDER BY "time" ASC LIMIT 1000
SELECT DISTINCT level FROM default.logs LIMIT 1000
"""


def test_the_api_answers_in_sql_too_with_the_types_of_columns_and_not_without_end(
    asked: tuple[Pipeline, int],
) -> None:
    def query(sql: str, **more: object) -> httpx.Response:
        given = {"sql": sql, **more}
        return httpx.get(f"http://127.0.0.1:{asked[0].port}/query", params=given, timeout=DEADLINE)

    ten = query("SELECT customer_id, offset, duration FROM logs ORDER BY offset", limit=1).json()
    assert ten["columns"] == [
        {"name": "customer_id", "type": "String"},
        {"name": "offset", "type": "UInt64"},
        {"name": "duration", "type": "Nullable(Float64)"},
    ]
    assert (ten["rows"], ten["is_whole"]) == ([["cust_0", "0", 0.5]], False)
    endless = query("SELECT number FROM system.numbers", limit=3).json()
    assert (endless["rows"], endless["is_whole"]) == ([["0"], ["1"], ["2"]], False)
    assert query("SHOW TABLES").json()["is_whole"]
    for refused, said in (
        ("DROP TABLE logs", "something else"),
        ("SELECT * FROM file('/etc/passwd')", "file()"),
        ("SELECT 1 FORMAT CSV", "leave out FORMAT CSV"),
        ("SELECT nothing", "nothing"),
    ):
        answer = query(refused)
        assert (answer.status_code, said in answer.json()["detail"]) == (422, True), refused


def test_what_grafanas_plugin_asks_is_answered(client: Client) -> None:
    day = {"{from}": "toDateTime(1793491200)", "{to}": "toDateTime(1793577600)"}  # 2026-11-01
    asked = re.sub("{from}|{to}", lambda found: day[found[0]], GRAFANA)
    answers = [client.query(sql).result_rows for sql in re.split(r"\n(?=S|D)", asked.strip())]
    assert all(answers)
    assert len(answers) == 8
    assert [row[1] for row in answers[4]].count("") == len(answers[4]) >= 10
    assert [(row[0].hour, row[1], row[2]) for row in answers[5]] == [(10, 0, len(answers[4]))]


def test_the_driver_of_go_by_which_grafana_asks_is_told_how_to_read_the_answers(ask: Ask) -> None:
    # What clickhouse-go 2.51 sends, and how it reads a block of the revision that it names.
    given = {
        "client_protocol_version": 54460,
        "database": "default",
        "default_format": "Native",
        "max_execution_time": 60,
    }
    headers = {
        "Accept-Encoding": "gzip",
        "Authorization": f"Basic {b64encode(b'default:').decode()}",
        "User-Agent": "clickhouse-go/2.51.0 (lv:go/1.26.8; os:linux)",
    }
    hello = ask("SELECT displayName(), version(), revision(), timezone()", headers, **given)
    assert (hello.status_code, hello.headers["X-ClickHouse-Format"]) == (200, "Native")
    block = BytesIO(hello.content)

    def text() -> str:
        return block.read(block.read(1)[0]).decode()

    assert block.read(8) == b"\x01\x00\x02\xff\xff\xff\xff\x00"  # its info
    assert block.read(2) == b"\x04\x01"  # columns, rows
    told = {}
    for _ in range(4):
        name, kind, is_custom = text(), text(), block.read(1)
        assert is_custom == b"\0"
        told[name] = text() if kind == "String" else int.from_bytes(block.read(4), "little")
    assert block.read() == b""
    assert list(told) == ["displayName()", "version()", "revision()", "timezone()"]
    assert told["version()"] == ask("SELECT version()").text.strip()
    assert (told["revision()"], told["timezone()"]) == (0, "UTC")

    answer = ask("SELECT toUInt8(7) AS n", headers, **given)
    assert answer.content == b"\x01\x01\x01n\x05UInt8\x07"  # of revision 0


NODE_ASKS = """
const { createClient } = require('@clickhouse/client')
async function ask() {
  const client = createClient({ url: process.argv[2], request_timeout: 60000 })
  const rows = async (query, query_params, format = 'JSONEachRow') =>
    (await client.query({ query, query_params, format })).json()
  const ping = (await client.ping()).success
  const values = { a: "it's\\n", b: [1, 2] }
  const [bound] = await rows('SELECT {a:String} AS a, {b:Array(UInt8)} AS b', values)
  const table = await rows('SELECT count() AS n FROM logs', {}, 'JSON')
  let refused = ''
  try { await rows('SELECT * FROM nowhere') } catch (error) { refused = error.code }
  let streamed = 0
  const stream = await client.query({ query: 'SELECT number FROM numbers(50000)', format: 'CSV' })
  for await (const some of stream.stream()) streamed += some.length
  await client.close()
  console.log(JSON.stringify([ping, bound, Number(table.data[0].n) >= 10, refused, streamed]))
}
ask()
"""


def test_clickhouses_own_client_of_node_asks(asked: tuple[Pipeline, int], tmp_path: Path) -> None:
    (tmp_path / "ask.cjs").write_text(NODE_ASKS)
    found = subprocess.run(
        [NODE, tmp_path / "ask.cjs", f"http://127.0.0.1:{asked[1]}"],
        env={"NODE_PATH": str(node_modules())},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert found.returncode == 0, found.stderr  # where it says what was refused, too
    assert json.loads(found.stdout) == [True, {"a": "it's\n", "b": [1, 2]}, True, "60", 50000]


def test_whoever_has_a_key_must_have_this_one(asked: tuple[Pipeline, int], ask: Ask) -> None:
    key = (asked[0].directory / "data" / "read.token").read_text()

    def ways(key: str) -> list[dict[str, str]]:
        return [
            {"X-ClickHouse-User": "default", "X-ClickHouse-Key": key},
            {"Authorization": f"Basic {b64encode(f'me:{key}'.encode()).decode()}"},
            {"Authorization": f"Bearer {key}"},
        ]

    assert [ask("SELECT 1", way).text for way in ways(key)] == ["1\n"] * 3
    refused = [ask("SELECT 1", way).headers for way in ways(f"{key}?")]
    assert [headers["X-ClickHouse-Exception-Code"] for headers in refused] == ["516"] * 3
    assert ask("SELECT 1", user="me", password=key).text == "1\n"
    assert ask("SELECT 1", user="me", password="guess").status_code == 403
    assert ask("SELECT 1", {"Host": "evil.example"}).status_code == 403


def test_beyond_this_machine_nobody_asks_without_the_key() -> None:
    app = create_query_app(None, Tokens("secret"))  # type: ignore[arg-type]

    async def get(path: str, **headers: str) -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://logs") as client:
            return await client.get(path, headers=headers)

    assert asyncio.run(get("/ping")).text == "Ok.\n"
    refused = asyncio.run(get("/?query=SELECT+1"))
    assert (refused.status_code, refused.headers["X-ClickHouse-Exception-Code"]) == (403, "516")
    assert asyncio.run(get("/", **{"X-ClickHouse-Key": "secret"})).text == "Ok.\n"


def test_whoever_guesses_keys_has_to_wait() -> None:
    server = ApiServer("0.0.0.0", 0)
    server.start(create_query_app(None, Tokens("secret")), pages=())  # type: ignore[arg-type]
    url = server.url.replace("0.0.0.0", "127.0.0.1")

    def get(key: str) -> int:
        headers = {"X-ClickHouse-Key": key} if key else {}
        return httpx.get(f"{url}/?query=+", headers=headers, trust_env=False).status_code

    try:
        assert [get(key) for key in ("", "secret", "")] == [403, 200, 403]
        guesses = [get(str(guess)) for guess in range(WRONG_TOKENS)]
        assert guesses == [403] * WRONG_TOKENS
        assert get("secret") == 429
    finally:
        server.stop()


def test_a_stop_does_not_wait_for_a_question(pipeline: Pipeline) -> None:
    write(pipeline, 0, 1)
    port = find_port()
    process = pipeline.start(LOG_PATHS="a.log", API_PORT=0, QUERY_PORT=port)
    url = f"http://127.0.0.1:{port}"

    def processes() -> str:
        sql = "SELECT count() FROM system.processes WHERE query LIKE '%system.numbers%'"
        try:
            return httpx.get(url, params={"query": sql}, trust_env=False).text
        except httpx.TransportError:
            return ""

    wait_for(processes, "the port")
    curl = shutil.which("curl")
    assert curl
    sql = "SELECT count() FROM system.numbers"
    with subprocess.Popen(
        [curl, "-s", "--noproxy", "*", url, "-d", sql], stdout=subprocess.PIPE, text=True
    ) as asking:
        wait_for(lambda: processes() == "2\n", "the question")
        assert pipeline.stop(deadline=20) == 0
        out, _ = asking.communicate(timeout=DEADLINE)
    assert "QUERY_WAS_CANCELLED" in out
    assert process.returncode == 0


def test_a_port_that_cannot_be_served_is_refused_before_the_start(tmp_path: Path) -> None:
    def problem(**settings: object) -> str:
        given = {"data_dir": tmp_path, "api_port": 0, "query_port": 8123, **settings}
        found = [one for one in problems(Settings(**given)) if "QUERY_PORT" in one]  # type: ignore[arg-type]
        return "".join(found)

    assert "QUERY_PORT=8123: it is for STORE=embedded" in problem(store="sqlite")
    port = find_port()
    assert "that is API_PORT" in problem(api_port=port, query_port=port)
    with socket.create_server(("127.0.0.1", port)):
        assert f"QUERY_PORT={port}: port {port} of 127.0.0.1 is in use" in problem(query_port=port)
