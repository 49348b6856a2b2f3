"""The page at `/`, in a browser, on a pipeline that runs."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import NODE, chromium, node_modules
from tests.conftest import ROOT, Pipeline, find_port

NEWEST = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
LINES = 3000
HOSTILE = '<img src=x onerror="document.title=1">'


def line(age: float, **fields: object) -> str:
    time = (NEWEST - timedelta(seconds=age)).isoformat()
    return json.dumps({"timestamp": time, **fields}) + "\n"


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
    yield line(1, level="WARNING", message=HOSTILE)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    directory = tmp_path_factory.mktemp("page")
    (directory / "app.log").write_text("".join(lines()))
    pipeline = Pipeline(directory, find_port())
    settings = {"STORE": "sqlite", "INSTANCE": "page", "LOG_FORMAT": "json"}
    process = pipeline.start(LOG_FILE_PATH=directory / "app.log", **settings)
    pipeline.wait_until_healthy()
    pipeline.wait_until_stored(LINES + 2)
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


VIEWS = [
    "/",
    "/?filter=status_code>400&by=status_class",
    "/?view=requests&days=",
    "/?view=explain",
    "/?view=patterns",
    "/?view=pipeline",
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
        found = page.evaluate("axe.run({resultTypes: ['violations']})")
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
