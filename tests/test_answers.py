"""Answers are kept, and never given once a write has changed them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from random import Random

import polars as pl
import pytest
from prometheus_client.parser import text_string_to_metric_families

from connectors.answers import Answer, Answers
from connectors.status import Status
from tests.test_statistics import Running

OK = ("/a", 200, 0.1)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with closing(Running(tmp_path / "data")) as made:
        yield made


def counted(running: Running) -> tuple[float, float]:
    """Hits and misses, as `/metrics` has them."""
    told = {
        sample.name: sample.value
        for family in text_string_to_metric_families(running.get("/metrics").text)
        for sample in family.samples
    }
    return told["logwax_answers_cached_total"], told["logwax_answers_made_total"]


def test_an_answer_is_kept_until_a_batch_of_that_customer_is_stored(running: Running) -> None:
    running.store_it("a", OK)
    running.store_it("b", OK)

    def requests(path: str) -> int:
        said = running.get(path)
        assert said.headers["Age"] == "0"
        assert said.headers["Cache-Control"] == "no-cache"
        return int(said.json()["total_requests"])

    assert [requests("/customers/a/stats") for _ in range(2)] == [1, 1]
    assert counted(running) == (1, 1)
    assert requests("/customers/a/stats?from_date=1970-01-01&to_date=1970-01-01") == 1
    assert requests("/stats") == 2
    assert counted(running) == (1, 3)
    running.store_it("b", OK)
    assert (requests("/customers/a/stats"), requests("/stats")) == (1, 3)
    assert counted(running) == (2, 4)  # that of a is as it was
    running.store_it("a", OK)
    assert (requests("/customers/a/stats"), requests("/stats")) == (2, 4)
    assert counted(running) == (2, 6)


def test_who_has_the_answer_is_told_so_until_it_changes(running: Running) -> None:
    running.store_it("a", OK)
    for sees_writes in (True, False):
        running.over(sees_writes=sees_writes)
        for path in ("/customers/a/stats", "/stats", "/customers", "/endpoints"):
            tag = running.get(path).headers["ETag"]
            for given in (tag, f'"x", W/{tag}', "*"):
                same = running.get(path, **{"If-None-Match": given})
                assert (same.status_code, same.content) == (304, b"")
                assert same.headers["ETag"] == tag
                assert ("Age" in same.headers) == sees_writes
            running.store_it("a", OK)
            other = running.get(path, **{"If-None-Match": tag})
            assert other.status_code == 200
            assert other.headers["ETag"] != tag
            assert running.get(path, **{"If-None-Match": '"x"'}).status_code == 200


def test_where_others_write_nothing_is_kept(running: Running) -> None:
    running.store_it("a", OK)
    running.over(sees_writes=False)
    assert running.get("/customers/a/stats").status_code == 200
    running.store._client.command(  # type: ignore[attr-defined]  # another writer
        "INSERT INTO logs (customer_id, status_code, success) VALUES ('a', 200, true)"
    )
    assert running.get("/customers/a/stats").json()["total_requests"] == 2
    assert counted(running) == (0, 0)


def test_where_the_sink_of_a_job_tells_somebody_else_nothing_is_kept(running: Running) -> None:
    running.status = Status()
    running.over(sees_writes=True)
    running.store_it("a", OK)
    assert running.get("/customers/a/stats").json()["total_requests"] == 1
    running.store_it("a", OK)
    assert running.get("/customers/a/stats").json()["total_requests"] == 2


def test_while_something_else_writes_nothing_is_kept() -> None:
    answers = Answers()
    answers.is_told = True
    made = iter([b"1", b"2", b"3", b"4"])

    async def make() -> bytes:
        return next(made)

    def get() -> bytes:
        return asyncio.run(answers.get("a", "q", make)).body

    assert (get(), get()) == (b"1", b"1")
    with answers.bypassed():
        assert (get(), get()) == (b"2", b"3")
    assert (get(), get()) == (b"4", b"4")


def test_who_asks_what_is_being_answered_waits_for_that_answer_unless_a_write_comes() -> None:
    answers = Answers()
    answers.is_told = True
    begun: list[asyncio.Event] = []

    async def make() -> bytes:
        begun.append(asyncio.Event())
        number = len(begun)
        await begun[-1].wait()
        return b"%d" % number

    async def ask() -> None:
        async def asked() -> asyncio.Task[Answer]:
            task = asyncio.create_task(answers.get("a", "q", make))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return task

        first, second = await asked(), await asked()
        answers.stored(pl.DataFrame({"customer_id": ["a"]}))
        third = await asked()
        assert len(begun) == 2
        first.cancel()  # who asked first has gone
        for one in begun:
            one.set()
        assert [(await one).body for one in (second, third)] == [b"1", b"2"]
        assert (await answers.get("a", "q", make)).body == b"2"

    asyncio.run(ask())
    assert (answers.hits, answers.misses) == (2, 2)


def test_rows_and_what_is_found_of_them_are_kept_until_a_batch_is_stored(running: Running) -> None:
    for path in ("/logs", "/logs/histogram", "/logs/facets", "/explain?filter=status_code=500"):
        running.store_it("a", OK, ("/a", 500, 0.1))
        running.get(path)
        before = running.status.answers.misses
        kept = running.get(path)
        assert (kept.status_code, kept.headers["Age"]) == (200, "0")
        tag = {"If-None-Match": kept.headers["ETag"]}
        assert running.get(path, **tag).status_code == 304
        assert running.status.answers.misses <= before + 2  # in another second the newest is new
        running.store_it("b", OK)
        changed = running.get(path, **tag)
        assert changed.status_code == 200
        assert running.status.answers.misses > before + 2


def test_what_is_kept_is_bounded_and_the_customer_asked_least_recently_goes() -> None:
    answers = Answers(most_bytes=100_000)
    answers.is_told = True
    made: list[str] = []

    def get(customer: str) -> None:
        async def make() -> bytes:
            made.append(customer)
            return bytes(39_000)

        asyncio.run(answers.get(customer, "q", make))

    for customer in ("a", "b", "a", "c", "a", "b"):
        get(customer)
    assert made == ["a", "b", "c", "b"]
    for number in range(50):
        get(str(number))
    assert answers._bytes <= 100_000
    assert len(answers._kept) == 2


async def interleave(random: Random) -> None:
    """Questions and writes, each of which may wait between any two of its steps."""
    customers = ["a", "b", ""]
    answers = Answers(most_bytes=3000)  # some are dropped, too
    answers.is_told = True
    visible: Counter[str | None] = Counter()
    acknowledged: Counter[str | None] = Counter()

    async def pause() -> None:
        for _ in range(random.randrange(4)):
            await asyncio.sleep(0)

    async def write() -> None:
        chosen = random.choices(customers, k=2)
        named = random.random() < 0.9
        rows = pl.DataFrame({"customer_id": chosen} if named else {"message": chosen})
        await pause()
        some = Counter([*(chosen if named else ["", ""]), None])
        for customer, count in some.items():  # a store may show them one by one
            visible[customer] += count
            await pause()
        answers.stored(rows)
        acknowledged.update(some)

    async def ask() -> None:
        await pause()
        customer = random.choice([*customers, None])
        least = acknowledged[customer]

        async def make() -> bytes:
            await pause()
            seen = visible[customer]
            await pause()
            return str(seen).encode()

        given = await answers.get(customer, random.randrange(2), make)
        assert int(given.body) >= least

    await asyncio.gather(*(random.choice([ask, ask, write])() for _ in range(340)))
    assert answers.hits and answers.misses


def test_no_answer_is_older_than_the_last_write_that_was_acknowledged(soak: bool) -> None:
    random = Random(11)
    for _ in range(1000 if soak else 30):
        asyncio.run(interleave(random))


def test_so_it_is_while_a_worker_writes_into_the_real_store(running: Running, soak: bool) -> None:
    random = Random(13)
    acknowledged: Counter[str] = Counter({"a": 1, "b": 1})
    for customer in acknowledged:
        running.store_it(customer, OK)

    def write() -> None:
        for customer in random.choices(["a", "b"], k=500 if soak else 25):
            running.store_it(customer, OK)
            acknowledged[customer] += 1

    async def ask(customer: str) -> None:
        while not writing.done():
            least = acknowledged[customer]
            said = await running.client.get(f"/customers/{customer}/stats")
            assert said.json()["total_requests"] >= least

    async def ask_all() -> None:
        await asyncio.gather(*(ask(customer) for customer in "aabb"))

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        asyncio.run(ask_all())
        writing.result()
    assert running.status.answers.hits
