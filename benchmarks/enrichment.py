"""What it costs to find out browsers and places: 5,000 agents and 20,000 addresses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from random import Random

from mmdb_writer import MMDBWriter
from netaddr import IPSet

from benchmarks.job import EMBEDDED, Log, cost_of_a_line, make_log, run_job
from benchmarks.measure import Cost, Effort, Figure, Wanted

AGENTS, ADDRESSES = 5_000, 20_000
_NETWORKS, _CITIES = 8_000, 2_500
_LANGUAGES = ("de", "en", "es", "fr", "ja", "pt-BR", "ru", "zh-CN")
_LINES = 1_000_000  # what the bound is for: the more lines, the less a new address weighs
_WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
_KINDS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) {webkit} Chrome/{major}.0.{minor}.0 Safari/537.36",
    "Mozilla/5.0 (Linux; Android 14; SM-G{minor}B) {webkit} Chrome/{major}.0.0.0 Mobile "
    "Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) {webkit} Version/{major}.{minor} "
    "Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:{minor}.0) Gecko/20100101 Firefox/{major}.0",
    "Mozilla/5.0 (compatible; Googlebot/{major}.{minor}; +http://www.google.com/bot.html)",
)


def measure(effort: Effort, scratch: Path) -> Iterator[Figure]:
    """`user_agent` and `geoip` together, beside the same run without them."""
    random, lines = Random(1), min(effort.lines, _LINES)
    networks = sorted(random.sample(range(1 << 24, 223 << 24, 256), min(lines, _NETWORKS)))
    places = _write_places(scratch / "places.mmdb", networks, random)
    on = {"ENRICHERS": "user_agent,geoip", "GEOIP_DB": str(places)}
    addresses = [
        str(ip_address(random.choice(networks) + random.randrange(256))) for _ in range(ADDRESSES)
    ]
    log = _with_visitors(make_log(scratch, "combined", lines), addresses, random)
    ours, theirs = list[Cost](), list[Cost]()
    for _ in range(effort.rounds):
        theirs.append(_job(log, scratch, {}))
        ours.append(_job(log, scratch, on))
    yield Figure(
        "enrichment",
        f"combined -> {EMBEDDED}",
        "CPU us/line",
        [cost.line * 1e6 for cost in ours],
        "without enrichers",
        [cost.line * 1e6 for cost in theirs],
        [Wanted(1.15)],
        [cost.start for cost in ours],
    )


def _job(log: Log, scratch: Path, settings: Mapping[str, str]) -> Cost:
    def seconds(log: Log, scratch: Path) -> float:
        return run_job(EMBEDDED, log, scratch, more=settings).cpu

    return cost_of_a_line(seconds, log, scratch)


def _with_visitors(log: Log, addresses: list[str], random: Random) -> Log:
    """The same lines, each from one of these addresses, by one of the agents."""
    agents = [
        _KINDS[number % len(_KINDS)].format(
            webkit=_WEBKIT, major=100 + number % 40, minor=number // len(_KINDS)
        )
        for number in range(AGENTS)
    ]
    path = Path(log.paths).with_suffix(".visitors")
    with open(log.paths, encoding="utf-8") as lines, path.open("w", encoding="utf-8") as made:
        for line in lines:
            rest = line.partition(" ")[2].rsplit('"', 2)[0]
            made.write(f'{random.choice(addresses)} {rest}"{random.choice(agents)}"\n')
    return replace(log, paths=str(path))


def _write_places(path: Path, networks: list[int], random: Random) -> Path:
    """A file as large in its records as those that are sold: names in eight languages."""

    def names(text: str) -> dict[str, object]:
        return {"names": {language: f"{text} ({language})" for language in _LANGUAGES}}

    cities: list[dict[str, object]] = [
        {
            "continent": names("Continent"),
            "country": names(f"Country {number % 150}"),
            "registered_country": names(f"Country {number % 150}"),
            "subdivisions": [names(f"Region {number % 900}")],
            "city": names(f"City {number}"),
            "location": {
                "latitude": round(random.uniform(-60, 70), 4),
                "longitude": round(random.uniform(-180, 180), 4),
                "time_zone": "Asia/Kolkata",
            },
        }
        for number in range(_CITIES)
    ]
    writer = MMDBWriter(6, "City", ipv4_compatible=True)
    for network in networks:
        writer.insert_network(IPSet([f"{ip_address(network)}/24"]), random.choice(cities))
    writer.to_db_file(str(path))
    return path
