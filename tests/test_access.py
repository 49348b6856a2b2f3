"""Who may ask the API, how much, and what its answers say to a browser, over real sockets."""

from __future__ import annotations

import asyncio
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Request

from api import limits
from api.access import Tokens, change_tokens
from api.server import ApiServer
from cli.health import HealthClient
from connectors.api_token import KEPT, keep_token
from connectors.errors import LogwaxError
from settings import Settings
from tests.conftest import DEADLINE, Pipeline, find_port
from tests.test_audit import logwax

TOKEN = "a token of somebody's own"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


class Asked(FastAPI):
    """An app whose `/slow` is answered at `release`, with what it has been asked."""

    def __init__(self) -> None:
        super().__init__()
        self.at_work = 0
        self.loop: asyncio.AbstractEventLoop | None = None
        self.release = asyncio.Event()

        @self.get("/slow")
        async def slow() -> str:
            self.loop = asyncio.get_running_loop()
            self.at_work += 1
            await self.release.wait()
            return "done"

        @self.get("/ready")
        async def ready() -> dict[str, str]:
            return {"status": "ready", "secret": "/var/log/x"}

        @self.get("/rows")
        async def rows(request: Request) -> str:
            return request.method


@pytest.fixture(scope="module")
def beyond() -> Iterator[str]:
    """The address of a server beyond this machine, asked from this one."""
    server = ApiServer("0.0.0.0", 0)
    server.start(Asked(), Tokens("another", TOKEN))
    yield server.url.replace("0.0.0.0", "127.0.0.1")
    server.stop()


@pytest.fixture
def browser(beyond: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    monkeypatch.setattr(limits, "WRONG_TOKENS", 1000)
    with httpx.Client(base_url=beyond, trust_env=False, verify=False) as client:
        yield client


def log_in(browser: httpx.Client, token: str, **headers: str) -> httpx.Response:
    return browser.post("/login", data={"token": token}, headers=headers)


def test_without_the_token_there_is_nothing_but_whether_all_is_well(browser: httpx.Client) -> None:
    for path in ("/rows", "/nothing", "/docs", "/openapi.json", "/health/", "/commands/audit"):
        refused = browser.get(path)
        assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer"), path
        assert "token" in refused.json()["detail"]
    assert browser.get("/ready").json() == {"status": "ok"}
    assert browser.get("/health").json() == {"status": "unhealthy"}
    assert browser.head("/ready").status_code == 200
    assert browser.get("/ready", headers=HEADERS).json()["secret"]

    for wrong in ("", "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", "ü"):
        headers = {"Authorization": wrong.encode()}
        assert browser.get("/rows", headers=headers).status_code == 401, wrong
    assert browser.get("/rows", headers=HEADERS).json() == "GET"
    assert browser.get("/rows", headers={"Authorization": "bearer another"}).status_code == 200


def test_a_browser_gets_a_form_and_by_it_a_cookie_that_no_script_and_no_other_page_has(
    browser: httpx.Client,
) -> None:
    form = browser.get("/rows", headers={"Accept": "text/html,*/*"})
    assert (form.status_code, form.headers["Content-Type"]) == (401, "text/html; charset=utf-8")
    assert 'action="/login"' in form.text
    for wrong in ("", "guess", TOKEN * 1000):
        assert log_in(browser, wrong).status_code == 401
    assert log_in(browser, TOKEN, Origin="http://evil.example").status_code == 401
    assert not browser.cookies

    opened = log_in(browser, TOKEN, Origin=str(browser.base_url))
    assert (opened.status_code, opened.headers["Location"]) == (303, "/")
    cookie = opened.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and TOKEN not in cookie
    assert browser.get("/rows").status_code == 200
    assert browser.get("/rows", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
    for foreign in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "same-site"}):
        assert browser.get("/rows", headers=foreign).status_code == 401
        assert browser.get("/rows", headers=foreign | HEADERS).status_code == 200
    browser.cookies.set("logwax", TOKEN)
    assert browser.get("/rows").status_code == 401


def test_no_answer_is_run_framed_or_shared_by_a_browser_or_says_what_made_it(
    browser: httpx.Client,
) -> None:
    for answer in (
        browser.get("/rows", headers=HEADERS),
        browser.get("/nothing", headers=HEADERS),
        browser.options("/rows", headers=HEADERS | {"Origin": "http://evil.example"}),
        browser.get("/rows"),
        browser.get("/ready"),
        log_in(browser, TOKEN),
    ):
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'self'; ")
        assert "frame-ancestors 'none'" in policy and "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Server" not in answer.headers
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_client_that_guesses_tokens_has_to_wait_whatever_it_shows_then(
    beyond: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(client: str, token: str) -> httpx.Response:
        headers = {"X-Forwarded-For": client, "Authorization": f"Bearer {token}"}  # as a proxy here
        return httpx.get(f"{beyond}/rows", headers=headers, trust_env=False)

    for _ in range(limits.WRONG_TOKENS):
        assert get("2001:db8::1", "guess").status_code == 401
    limited = get("2001:db8::ffff:1", TOKEN)
    assert limited.status_code == 429
    assert 0 < int(limited.headers["Retry-After"]) <= limits.SECONDS
    assert "try again" in limited.json()["detail"]
    assert get("2001:db8:0:1::1", TOKEN).status_code == 200
    monkeypatch.setattr(limits, "SECONDS", 0.0)
    assert get("2001:db8::1", TOKEN).status_code == 200


def test_a_client_that_guesses_cookies_has_to_wait_and_an_old_one_counts_once(beyond: str) -> None:
    def get(client: str, cookie: str) -> int:
        headers = {"X-Forwarded-For": client, "Cookie": f"logwax={cookie}"}
        return httpx.get(f"{beyond}/rows", headers=headers, trust_env=False).status_code

    old = [get("192.0.2.7", "an old one") for _ in range(limits.WRONG_TOKENS + 1)]
    guesses = [get("192.0.2.8", str(guess)) for guess in range(limits.WRONG_TOKENS + 1)]
    assert old == [401] * (limits.WRONG_TOKENS + 1)
    assert guesses == [401] * limits.WRONG_TOKENS + [429]


def test_on_loopback_a_page_of_another_site_may_lead_to_ours_and_make_a_browser_ask_nothing() -> (
    None
):
    server = ApiServer("127.0.0.1", 0)
    server.start(Asked())

    def get(path: str, site: str, mode: str) -> int:
        headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode}
        return httpx.get(server.url + path, headers=headers, trust_env=False).status_code

    try:
        for site in ("cross-site", "same-site"):
            assert get("/rows", site, "no-cors") == 403
            assert get("/rows", site, "navigate") == 403
            assert get("/", site, "no-cors") == 403
            assert get("/", site, "navigate") == 404  # which it has not
        assert get("/rows", "same-origin", "cors") == 200
        assert get("/rows", "none", "navigate") == 200
    finally:
        server.stop()


def test_of_a_client_so_many_requests_are_answered_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "AT_ONCE", 2)
    app = Asked()
    server = ApiServer("127.0.0.1", 0)
    server.start(app)

    async def ask() -> None:
        async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=30) as client:
            slow = [asyncio.create_task(client.get("/slow")) for _ in range(2)]
            while app.at_work < 2:
                await asyncio.sleep(0.01)
            limited = await client.get("/rows")
            assert (limited.status_code, limited.headers["Retry-After"]) == (429, "1")
            assert (await client.get("/ready")).status_code == 200
            other = await client.get("/rows", headers={"X-Forwarded-For": "192.0.2.1"})
            assert other.status_code == 200
            assert app.loop
            app.loop.call_soon_threadsafe(app.release.set)
            assert [(await one).status_code for one in slow] == [200, 200]
            assert (await client.get("/rows")).status_code == 200

    try:
        asyncio.run(asyncio.wait_for(ask(), 30))
    finally:
        server.stop()


def test_beyond_this_machine_a_token_is_asked_for_that_stays_the_same(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def tokens(**given: object) -> Tokens:
        settings = Settings(_env_file=None, data_dir=tmp_path / "data", **given)  # type: ignore[arg-type]
        change_tokens(found := Tokens(), settings, "own")
        return found

    for host in ("127.0.0.1", "::1", "localhost"):
        assert not tokens(api_host=host).needed
    assert not (tmp_path / "data").exists()
    for host in ("0.0.0.0", "::", "192.0.2.1", "logs.example"):
        found = tokens(api_host=host)
        kept = (tmp_path / "data" / KEPT).read_text()
        assert found.needed and found.know(kept) and found.know("own") and not found.know("")
        assert f"API_HOST={host} is beyond this machine" in capfd.readouterr().err
    assert stat.S_IMODE((tmp_path / "data" / KEPT).stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "data").iterdir()] == [KEPT]
    for host in ("127.0.0.1", "0.0.0.0"):
        found = tokens(api_host=host, api_token="chosen")
        assert found.needed and found.know("chosen") and not found.know(kept)
    assert capfd.readouterr().err == ""


def test_a_token_that_cannot_be_kept_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / KEPT).write_text("\n")
    with pytest.raises(LogwaxError, match=r"no token in .*read\.token.* set API_TOKEN"):
        keep_token(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(LogwaxError, match=r"Cannot keep a token in .*: .*; set API_TOKEN"):
        keep_token(tmp_path / "file")


def test_a_pipeline_beyond_this_machine_says_its_token_keeps_it_and_takes_commands_by_another(
    pipeline: Pipeline,
) -> None:
    (pipeline.directory / "a.log").write_text("2026-11-01 10:00:00 cust_1 /orders 200 0.5\n")
    data = pipeline.directory / "data"
    given = {"LOG_PATHS": "a.log", "API_HOST": "0.0.0.0", "QUERY_PORT": find_port()}
    settings = Settings(_env_file=None, data_dir=data, api_host="0.0.0.0", api_port=pipeline.port)
    kept = []
    for _ in range(2):
        process = pipeline.start(**given)
        pipeline.wait_until_healthy()
        kept.append((data / KEPT).read_text())
        assert pipeline.get("/stats").status_code == 401
        health = HealthClient(settings).ask()
        assert health and health.is_ok
        query = f"http://127.0.0.1:{given['QUERY_PORT']}/?query=SELECT+1"
        for token, status in ((kept[0], 200), ((data / "api.token").read_text(), 200), ("x", 403)):
            headers = {"X-ClickHouse-Key": token}
            assert httpx.get(query, headers=headers, trust_env=False).status_code == status
        assert httpx.get(query, trust_env=False).status_code == 403
        command = f"http://127.0.0.1:{pipeline.port}/commands/positions"
        reader = {"Authorization": f"Bearer {kept[0]}"}
        assert httpx.post(command, headers=reader, trust_env=False).status_code == 401
        assert logwax(pipeline, "positions", **given).returncode == 0
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=DEADLINE)
        assert f"so the API asks for a token: that in data/{KEPT}, or set API_TOKEN" in errors
    assert kept[0] == kept[1]
