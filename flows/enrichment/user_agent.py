"""Enricher `user_agent`: browser, system and device, by the rules of the project uap-core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl
from ua_parser.loaders import load_lazy_builtins
from ua_parser.regex import Resolver

from connectors.batch import ENRICHED
from connectors.status import Status
from flows.enrichment import Enrich
from flows.enrichment.known import Known
from settings import Settings

if TYPE_CHECKING:
    from ua_parser_rs import OS, UserAgent

_BOT = "Spider"  # what the rules call the device of a crawler

_OF_PCS = frozenset(
    (
        *("Windows", "Mac OS X", "Chrome OS", "Linux", "Ubuntu", "Debian", "Fedora", "Red Hat"),
        *("CentOS", "SUSE", "Gentoo", "Arch Linux", "Linux Mint", "FreeBSD", "OpenBSD", "NetBSD"),
    )
)
_OF_PHONES = frozenset(("iOS", "Android", "Windows Phone", "BlackBerry OS", "KaiOS", "Symbian OS"))
_TABLETS = ("iPad", "Kindle", "BlackBerry Playbook")


def make(settings: Settings, status: Status) -> Enrich:
    """The enricher, made of `user_agent`; to read the rules takes 0.3 seconds."""
    known = Known(_Agents(), ENRICHED["user_agent"])

    def enrich(rows: pl.DataFrame) -> pl.DataFrame:
        return known.add_to(rows, "user_agent")

    return enrich


class _Agents:
    """Reads agents, as the library does, less its objects, which take as long as the rules."""

    def __init__(self) -> None:
        rules = Resolver(load_lazy_builtins())
        self._browser = rules.ua.extract
        self._system = rules.os.extract
        self._device = rules.de.extract

    def __call__(self, agents: Sequence[str]) -> list[tuple[object, ...]]:
        """The columns of each."""
        return [self._read(agent) for agent in agents]

    def _read(self, agent: str) -> tuple[object, ...]:
        if not agent:
            return ("", "", "", "", "", "", False)
        browser, system = self._browser(agent), self._system(agent)
        found = self._device(agent)
        family, device = system.family if system else "", found.family if found else ""
        return (
            browser.family if browser else "",
            _version(browser),
            family,
            _version(system),
            device,
            _type_of(agent, family, device),
            device == _BOT,
        )


def _version(found: UserAgent | OS | None) -> str:
    return ".".join(filter(None, (found.major, found.minor, found.patch))) if found else ""


def _type_of(agent: str, system: str, device: str) -> str:
    """`bot`, `Tablet`, `Mobile`, `PC` or `Unknown`.

    Browsers of Android say `Mobile` on phones only: developer.chrome.com, "User-Agent Strings".
    """
    if device == _BOT:
        return "bot"
    if system in _OF_PCS:
        return "PC"
    is_large = system == "Android" and "AppleWebKit" in agent and "Mobile" not in agent
    if device.startswith(_TABLETS) or "Tablet" in agent or (is_large and "TV" not in agent):
        return "Tablet"
    if "TV" in agent:
        return "Unknown"
    is_phone = system in _OF_PHONES or "Mobile" in agent or "Opera Mini" in agent
    return "Mobile" if is_phone else "Unknown"
