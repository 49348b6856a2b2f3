"""The page at `/`, in a browser, on a pipeline that runs."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from settings import Settings
from tests.browser import NODE, chromium, node_modules
from tests.conftest import DEADLINE, ROOT, Pipeline, find_port

expect.set_options(timeout=1000 * DEADLINE)

NEWEST = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
LINES = 3000
HOSTILE = '<img src=x onerror="document.title=1">'


def line(age: float, **fields: object) -> str:
    moment = (NEWEST - timedelta(seconds=age)).isoformat()
    return json.dumps({"timestamp": moment, **fields}) + "\n"


def lines() -> Iterator[str]:
    """An hour: a request each 1.2 seconds, payments that fail for a while, a dead letter."""
    for i in range(LINES):
        age = 3500 * (1 - i / LINES)
        is_bad = 1500 <= i < 1600
        yield line(
            age,
            level="ERROR" if is_bad else "INFO",
            method="GET",
            path="/payments" if is_bad else f"/orders/{i}",
            status=502 if is_bad else 200,
            duration=0.01,
            customer_id=f"customer-{i % 7}",
            region="eu" if i % 2 else "us",
            message=f"request number {i}",
        )
    yield "no JSON at all\n"
    yield from 2 * ['203.0.113.7 - - [01/Nov/2026:11:59:00 +0000] "GET / HTTP/1.1" 200 12\n']
    yield line(1, level="WARNING", message=HOSTILE)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    directory = tmp_path_factory.mktemp("page")
    (directory / "app.log").write_text("".join(lines()))
    pipeline = Pipeline(directory, find_port())
    settings = {"INSTANCE": "page", "LOG_FORMAT": "json"}
    process = pipeline.start(LOG_FILE_PATH=directory / "app.log", **settings)
    pipeline.wait_until_healthy()
    pipeline.wait_until_stored(LINES + 4)
    yield pipeline
    process.kill()
    process.communicate()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


class Watched:
    """A tab, and what its console was told."""

    def __init__(self, page: Page, pipeline: Pipeline) -> None:
        self.page = page
        self.said: list[str] = []
        self._url = f"http://127.0.0.1:{pipeline.port}"
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))

    def open(self, path: str = "/") -> Page:
        self.page.goto(f"{self._url}{path}")
        return self.page


@pytest.fixture
def tab(served: Pipeline, browser: Browser) -> Iterator[Watched]:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    watched = Watched(page, served)
    yield watched
    page.close()
    assert not watched.said  # no error, no warning, nothing that the policy forbids


def rows(page: Page) -> list[str]:
    expect(page.locator(".row").first).to_be_visible()
    return page.locator(".row").all_inner_texts()


def test_types_of_its_modules_are_right() -> None:
    tsc = node_modules() / "typescript" / "bin" / "tsc"
    checked = subprocess.run([NODE, tsc, "--project", ROOT], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_the_newest_hour_is_seen_at_once_brushed_filtered_and_shared(tab: Watched) -> None:
    page = tab.open()
    assert HOSTILE in rows(page)[0]  # as text
    expect(page.get_by_role("img", name=re.compile("INFO 2,900.*ERROR 100"))).to_be_visible()

    # the scrolled list has few of its rows in the page
    page.get_by_role("listbox", name="Rows").evaluate("list => list.scrollTo(0, 4000)")
    expect(page.get_by_text("400 rows, more below")).to_be_visible()
    assert page.locator(".row").count() <= 300

    # a click on a value, and the histogram agrees with the list
    page.get_by_title("Only endpoint = /payments").click()
    expect(page.locator(".legend b")).to_have_text("100 rows")
    expect(page.get_by_text("100 rows", exact=True).last).to_be_visible()
    assert all("/payments 502" in row for row in rows(page))

    # a brush over the middle of the bars
    chart = page.locator(".histogram .u-over").bounding_box()
    assert chart
    middle = chart["y"] + chart["height"] / 2
    page.mouse.move(chart["x"] + chart["width"] * 0.45, middle)
    page.mouse.down()
    page.mouse.move(chart["x"] + chart["width"] * 0.53, middle, steps=4)
    page.mouse.up()
    expect(page).to_have_url(re.compile("from=2026-11-01T11.*to=2026-11-01T11"))
    expect(page.locator(".legend b")).not_to_have_text("100 rows")
    shared, seen = page.url, page.locator(".legend b").inner_text()

    # the address is the whole state; back undoes the brush
    page.go_back()
    expect(page.locator(".legend b")).to_have_text("100 rows")
    page.goto(shared)
    expect(page.locator(".legend b")).to_have_text(seen)


def test_a_wrong_filter_is_marked_at_its_place_and_clears_nothing_else(tab: Watched) -> None:
    page = tab.open()
    rows(page)
    page.keyboard.press("/")
    page.keyboard.type("level = ERROR and statu = 5")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("character 19")
    expect(page.locator(".wrong i")).to_have_attribute("style", re.compile("18ch"))
    expect(page.get_by_label("Filter", exact=True)).to_have_value("level = ERROR and statu = 5")
    assert rows(page)  # of the filter before, and so the others
    expect(page.locator(".legend b")).to_be_visible()
    expect(page.get_by_title("Only level = INFO", exact=True).last).to_be_visible()
    assert tab.said and all("422" in text for text in tab.said)
    tab.said.clear()


def test_the_documentation_of_the_api_needs_nothing_from_elsewhere(tab: Watched) -> None:
    page = tab.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    tab.open("/docs")
    expect(page.get_by_text("Rows by time").first).to_be_visible()
    assert {url.split("/")[2] for url in asked if not url.startswith("data:")} == {
        page.url.split("/")[2]
    }


MIB = 1024 * 1024

# How many frames a second there are while the list is scrolled for three seconds.
FRAMES = """() => new Promise((done) => {
    const list = document.querySelector('.scroll'), begin = performance.now();
    let frames = 0;
    const frame = (now) => {
        frames += 1;
        list.scrollTop += frames % 100 < 70 ? 48 : -96;
        if (now - begin < 3000) requestAnimationFrame(frame);
        else done((1000 * frames) / (now - begin));
    };
    requestAnimationFrame(frame);
})"""


def write_steadily(path: Path, stop: threading.Event) -> None:
    """A thousand lines a second, until `stop` is set."""
    number, begin = 0, time.monotonic()
    while not stop.wait(0.1):
        due = int((time.monotonic() - begin) * 1000)
        now = datetime.now(timezone.utc).isoformat()
        lines = (
            json.dumps({"timestamp": now, "level": "INFO", "message": f"row number {each}"}) + "\n"
            for each in range(number, due)
        )
        append(path, "".join(lines))
        number = due


def append(path: Path, text: str) -> None:
    """Append it in one piece, beside others who do."""
    with path.open("ab", buffering=0) as log:
        log.write(text.encode())


def test_a_tab_stays_small_and_quick_at_a_thousand_rows_a_second(
    tmp_path: Path, browser: Browser, soak: bool
) -> None:
    pipeline, log, stop = Pipeline(tmp_path, find_port()), tmp_path / "app.log", threading.Event()
    wait = Settings.model_fields["stream_max_wait_time_in_seconds"].default
    process = pipeline.start(LOG_PATHS=log, LOG_FORMAT="json", STREAM_MAX_WAIT_TIME_IN_SECONDS=wait)
    writing = threading.Thread(target=write_steadily, args=[log, stop])
    writing.start()
    try:
        pipeline.wait_until_healthy()
        watched = Watched(browser.new_page(viewport={"width": 1440, "height": 900}), pipeline)
        page = watched.open("/?live=1")
        rows(page)
        marked = Watched(browser.new_page(), pipeline).open("/?live=1&filter=mark")
        expect(marked.get_by_text("Live", exact=True).last).to_be_visible()
        metrics = page.context.new_cdp_session(page)
        heaps: list[float] = []
        frames: list[float] = []
        seconds: list[float] = []
        began = time.monotonic()
        while time.monotonic() - began < (1800 if soak else 5):
            now, text = datetime.now(timezone.utc).isoformat(), f"mark {len(seconds)}."
            append(log, json.dumps({"timestamp": now, "message": text}) + "\n")
            written = time.monotonic()
            expect(marked.get_by_text(text)).to_be_visible()
            seconds.append(time.monotonic() - written)
            frames.append(page.evaluate(FRAMES))
            assert page.locator(".row").count() <= 300
            page.get_by_role("button", name=re.compile("new rows? ")).click()
            assert page.locator(".row").count() <= 300
            metrics.send("HeapProfiler.collectGarbage")
            heaps.append(metrics.send("Runtime.getHeapUsage")["usedSize"] / MIB)
            if soak:
                print(
                    f"{heaps[-1]:.1f} MiB, {frames[-1]:.0f} frames/s, seen in {seconds[-1]:.2f} s"
                )
                page.wait_for_timeout(20_000)
        assert not watched.said
    finally:
        stop.set()
        writing.join()
        process.kill()
        process.communicate()
    if soak:
        full = heaps[len(heaps) // 10 :]  # once the list is full
        assert max(full) - min(full) < 20
        assert sorted(frames)[len(frames) // 2] >= 55
        assert sorted(seconds)[len(seconds) // 2] <= 2


VIEWS = [
    "/",
    "/?filter=status_code>400&by=status_class",
    "/?view=requests&days=",
    "/?view=explain",
    "/?filter=level%3DERROR&view=explain",
    "/?columns=level,attr.region&zone=local&from=2026-11-01T11:00:00Z&to=2026-11-01T12:00:00Z",
    "/?view=sql&sql=SELECT+level,count()+FROM+logs+GROUP+BY+level",
    "/?view=sql&as=chart&sql=SELECT+level,count()+FROM+logs+GROUP+BY+level",
    "/?view=patterns",
    "/?view=pipeline",
    "/?view=alerts&filter=level+%3D+ERROR",
]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_view_has_what_axe_calls_serious(tab: Watched, theme: str) -> None:
    page = tab.page
    axe = (node_modules() / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    for view in VIEWS:
        tab.open(view)
        expect(page.get_by_role("heading", level=1)).to_be_attached()
        expect(page.locator("[aria-busy=true]")).to_have_count(0)
        page.evaluate(axe)
        rules = ", runOnly: ['color-contrast']" if theme == "dark" else ""
        found = page.evaluate(f"axe.run({{resultTypes: ['violations']{rules}}})")
        assert [
            (one["id"], one["nodes"][0]["html"])
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
        ] == []


def test_patterns_tell_what_messages_are_about_and_lead_to_their_rows(tab: Watched) -> None:
    page = tab.open("/?view=patterns")
    found = page.get_by_role("group", name="Patterns").get_by_role("row")
    expect(found.nth(1)).to_contain_text("request number <*>3,000")
    expect(found.nth(2)).to_contain_text("<img src=<*> onerror=<*>>1")  # as text
    found.nth(1).get_by_role("button").click()
    one = page.get_by_role("region", name="request number <*>")
    expect(one).to_contain_text("such as: request number 2999")
    expect(one.get_by_role("img", name=re.compile("INFO 2,900.*ERROR 100"))).to_be_visible()
    page.reload()  # the address is the whole state
    one.get_by_role("button", name="Rows").click()
    expect(page.locator(".legend b")).to_have_text("3,000 rows")
    page.go_back()
    page.get_by_label("Which patterns").select_option("new")
    expect(page.get_by_text("2 new patterns in 3,001 rows")).to_be_visible()


def test_a_line_just_written_is_seen_live_with_those_around_it(
    tab: Watched, served: Pipeline
) -> None:
    page = tab.open("/?filter=request&live=1")
    expect(page.get_by_text("Live", exact=True).last).to_be_visible()
    rows(page)
    with (served.directory / "app.log").open("a") as log:
        log.write("neither is this\n")
        log.write(line(0, level="INFO", message="no such thing"))
        log.write(line(0, level="INFO", message="the last request"))
    expect(page.locator(".row").first).to_contain_text("the last request")

    # whoever has scrolled stays there, and is told
    page.get_by_role("listbox", name="Rows").evaluate("list => list.scrollTo(0, 480)")
    with (served.directory / "app.log").open("a") as log:
        log.write(line(0, level="INFO", message="one more request"))
    page.get_by_role("button", name="1 new row").click()
    expect(page.locator(".row").first).to_contain_text("one more request")

    page.locator(".row").nth(1).click()
    around = page.locator(".around")
    expect(around.locator("[aria-current]")).to_have_text("the last request")
    expect(around).to_contain_text("dead letter neither is this")
    expect(around).to_contain_text("one more request")
    page.keyboard.press("Escape")
    expect(around).to_have_count(0)


def test_what_stands_out_and_what_was_no_row_are_told(tab: Watched) -> None:
    page = tab.open("/?filter=status_code+%3D+502")
    rows(page)
    page.keyboard.press("3")
    found = page.get_by_role("group", name="Findings").get_by_role("row")
    expect(found.nth(1)).to_contain_text("/payments")
    page.get_by_role("link", name="Pipeline").click()
    expect(page.get_by_text("no JSON at all")).to_be_visible()
    expect(page.get_by_text("LOG_FORMAT=common takes most of these")).to_be_visible()


def test_sql_is_answered_as_a_table_and_a_chart_and_a_reload_asks_no_endless_question_again(
    tab: Watched,
) -> None:
    page = tab.open("/?view=sql")
    page.keyboard.press("/")
    page.keyboard.insert_text(
        "SELECT toStartOfHour(timestamp) AS hour, level, count() AS rows FROM logs "
        "WHERE timestamp < '2026-11-01 12:00:00' GROUP BY ALL ORDER BY rows DESC"
    )
    page.keyboard.press("Control+Enter")
    answered = page.get_by_role("group", name="Rows of the answer").get_by_role("row")
    expect(answered).to_have_count(4)
    expect(answered.nth(1)).to_contain_text("2026-11-01 11:00:00")
    page.get_by_role("button", name="Chart").click()
    expect(page.get_by_role("group", name=re.compile("INFO up to 2.9K"))).to_be_visible()
    page.goto(page.url)
    chart = page.get_by_role("group", name=re.compile("INFO up to 2.9K"))
    expect(chart).to_be_visible()
    page.get_by_label("SQL", exact=True).fill("SELECT nothing FROM logs")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("nothing")
    expect(chart).to_be_hidden()

    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    endless = "SELECT count() FROM system.numbers"
    page.get_by_label("SQL", exact=True).fill(endless)
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    page.reload()
    page.get_by_text("This question had no answer yet").wait_for()
    assert sum("system.numbers" in url and "/query" in url for url in asked) == 1

    page.get_by_label("SQL", exact=True).fill("DROP TABLE logs")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Only one SELECT")
    assert tab.said and all("422" in text for text in tab.said)
    tab.said.clear()


def test_requests_of_any_year_are_seen_with_lines_and_status_codes(tab: Watched) -> None:
    page = tab.open("/?view=requests")
    expect(page.get_by_text(re.compile("2026-10-26 . 2026-11-01"))).to_be_visible()
    expect(page.get_by_role("group", name=re.compile("Latency: p99 up to 10 ms"))).to_be_visible()
    expect(page.get_by_role("group", name=re.compile("failed.s up to"))).to_be_visible()
    codes = page.get_by_role("region", name="Status codes").get_by_role("row")
    expect(codes.nth(2)).to_contain_text("502")
    codes.nth(2).get_by_role("button").click()
    expect(page.locator(".legend b")).to_have_text("100 rows")


def columns(page: Page) -> list[str]:
    """What stands in the columns of the first row."""
    return page.locator(".row .cells").first.inner_text().split()


def test_a_view_is_kept_by_its_name_with_its_columns(tab: Watched) -> None:
    page = tab.open("/?filter=status_code+%3D+502")
    rows(page)
    page.locator(".row").first.click()
    page.get_by_role("button", name="The column attr.region").click()
    page.get_by_role("button", name="The column endpoint").click()
    page.keyboard.press("Escape")
    assert columns(page) == ["eu", "/payments"]
    assert "number" in rows(page)[0]  # the text of the row stays beside them
    page.get_by_text("Saved", exact=True).click()
    page.keyboard.press("Escape")
    expect(page.get_by_label("Name of this view")).to_be_hidden()
    page.get_by_text("Saved", exact=True).click()
    page.get_by_label("Name of this view").fill("Payments that fail")
    page.keyboard.press("Enter")
    kept = page.url

    tab.open("/?view=pipeline")
    page.get_by_text("Saved", exact=True).click()
    page.get_by_role("link", name="Payments that fail").click()
    expect(page).to_have_url(kept)
    assert rows(page) and columns(page) == ["eu", "/payments"]
    page.get_by_text("Saved", exact=True).click()
    page.get_by_role("button", name="Forget Payments that fail").click()
    expect(page.get_by_role("link", name="Payments that fail")).to_have_count(0)


def test_an_end_of_a_chart_that_may_lack_rows_says_so(tab: Watched) -> None:
    page = tab.page

    def behind(route: Route) -> None:
        answer = route.fetch()
        told = answer.json()
        told["completeness"]["files_behind"] = 1  # as while old lines are read
        route.fulfill(response=answer, json=told)

    page.route("**/logs/histogram*", behind)
    tab.open()
    expect(page.get_by_role("img", name=re.compile("its end is not complete"))).to_be_visible()
    expect(page.get_by_text("may be missing: 1 file behind")).to_be_visible()


def test_who_is_disconnected_is_told_and_sees_what_was_there(tab: Watched) -> None:
    page = tab.open()
    seen = rows(page)
    page.route("**/logs**", lambda route: route.abort())
    page.keyboard.press("r")
    expect(page.get_by_text("Logwax does not answer").first).to_be_visible()
    assert rows(page)[:10] == seen[:10]
    page.unroute("**/logs**")
    page.keyboard.press("r")
    expect(page.get_by_text("Logwax does not answer")).to_have_count(0)
    tab.said.clear()


def test_an_alert_is_seen_before_it_is_added_and_told_when_it_fires(tab: Watched) -> None:
    page = tab.open("/?view=alerts&filter=status_code+%3D+502")
    form = page.get_by_role("region", name="New alert")
    form.get_by_label("than").fill("99")
    form.get_by_label("Window").select_option("15m")
    expect(form.get_by_role("status")).to_contain_text("would have fired once")
    form.get_by_label("than").fill("100")
    expect(form.get_by_role("status")).to_contain_text("would have fired 0 times")
    form.get_by_label("More or fewer").select_option("fewer")
    form.get_by_label("Name").fill("too quiet")
    form.get_by_role("button", name="Add").click()
    alerts = page.get_by_role("group", name="Alerts")
    expect(alerts).to_contain_text("fewer than 100 in 15m")
    # the rows are of long ago; the page asks every five seconds
    expect(alerts).to_contain_text("firing", timeout=1000 * DEADLINE)
    expect(page.get_by_role("group", name="History")).to_contain_text("too quiet")

    form.get_by_label("Name").fill("too quiet")
    form.get_by_role("button", name="Add").click()
    expect(form.get_by_role("alert")).to_contain_text("choose another name")
    assert tab.said and all("422" in text for text in tab.said)
    tab.said.clear()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Remove too quiet").click()
    expect(page.get_by_text("None yet.")).to_be_visible()


def test_a_slow_answer_is_waited_for_while_rows_are_followed(tab: Watched) -> None:
    page = tab.page

    def slow(route: Route) -> None:
        time.sleep(2.5)  # more than after which the page asks again
        route.continue_()

    page.route("**/logs?limit=1", slow)
    tab.open("/?live=1")
    expect(page.locator(".legend b")).to_be_visible()
    rows(page)
    page.unroute_all(behavior="ignoreErrors")
