"""First or returning, by a signed cookie, and without one by a keyed hash."""

from __future__ import annotations

import pytest
from middleware_events import SECRET

from logwax_capture.middleware import visitors
from logwax_capture.middleware.visitors import SIX_MONTHS, Visitor, Visitors

DAY = 24 * 3600
NOON = 20_000 * DAY + DAY // 2


class Clock:
    """Says what it is told."""

    def __init__(self) -> None:
        self.now = float(NOON)

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(visitors, "time", clock)
    return clock


def cookie(visitor: Visitor) -> str:
    """What the browser sends next time, among others."""
    assert visitor.set_cookie is not None
    return "a=b; " + visitor.set_cookie.partition(";")[0] + "; c=d"


def come(
    known: Visitors, cookies: str = "", *, client: str = "192.0.2.1", secure: bool = False
) -> Visitor:
    return known.visitor(cookies, client, "Firefox", "en", secure)


@pytest.fixture
def known() -> Visitors:
    return Visitors(SECRET, "seen")


def test_who_comes_back_within_six_months_is_returning_and_the_same(
    known: Visitors, clock: Clock
) -> None:
    first = come(known)
    assert first.is_first is True
    clock.now += SIX_MONTHS - DAY
    again = come(known, cookie(first), client="203.0.113.9")
    assert (again.id, again.is_first) == (first.id, False)
    clock.now += SIX_MONTHS - DAY  # the last visit counts, not the first one
    assert come(known, cookie(again)).is_first is False


def test_who_comes_back_later_is_first(known: Visitors, clock: Clock) -> None:
    first = come(known)
    clock.now += SIX_MONTHS + DAY
    again = come(known, cookie(first))
    assert again.is_first is True
    assert again.id != first.id


def test_a_forged_or_damaged_cookie_is_none(known: Visitors, clock: Clock) -> None:
    good = cookie(come(known))
    assert come(known, good).is_first is False
    who, seen, signature = good.split("=")[2].split(";")[0].split(".")
    others = Visitors(SECRET + "!", "seen")
    for forged in (
        f"seen={'0' * 32}.{seen}.{signature}",
        f"seen={who}.{int(seen) + 1}.{signature}",
        f"seen={who}.{seen}.{'0' * 32}",
        f"seen={who}.{seen}",
        good.replace("seen=", "unseen="),
        f"{good[:-8]}x; c=d",
        cookie(come(others)),
        "seen=\ud800.1.é",
    ):
        assert come(known, forged).is_first is True, forged


def test_two_tabs_that_are_opened_at_once_are_one_visitor(known: Visitors, clock: Clock) -> None:
    one, other = come(known), come(known)
    assert one.id == other.id
    assert come(known, cookie(one)).id == come(known, cookie(other)).id == one.id
    assert come(known, client="192.0.2.2").id != one.id
    assert known.visitor("", "192.0.2.1", "Opera", "en", False).id != one.id


def test_without_cookies_a_visitor_is_the_same_for_a_day_and_not_known_to_be_first(
    clock: Clock,
) -> None:
    by_hash = Visitors(SECRET, None)
    one = come(by_hash)
    assert (one.is_first, one.set_cookie) == (None, None)
    clock.now += DAY // 4
    assert come(by_hash) == one
    clock.now += DAY
    assert come(by_hash).id != one.id
    clock.now = NOON
    assert come(Visitors(SECRET + "!", None)).id != one.id


def test_the_cookie_is_renewed_after_an_hour_and_no_script_can_read_it(
    known: Visitors, clock: Clock
) -> None:
    first = come(known)
    assert first.set_cookie is not None
    assert first.set_cookie.endswith("; Max-Age=15552000; Path=/; HttpOnly; SameSite=Lax")
    clock.now += 3600
    assert come(known, cookie(first)).set_cookie is None
    clock.now += 1
    renewed = come(known, cookie(first), secure=True).set_cookie
    assert renewed is not None
    assert renewed.endswith("; Secure")
