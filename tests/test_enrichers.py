"""The enrichers that `ENRICHERS` turns on."""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime, timezone
from ipaddress import ip_address
from pathlib import Path

import polars as pl
import pytest
from maxminddb import MODE_MMAP, open_database
from mmdb_writer import MMDBWriter, TreeWriter
from netaddr import IPSet

from connectors.batch import ENRICHED, columns_with
from connectors.errors import SettingsError
from connectors.status import Status
from flows.enrichment import known
from flows.enrichment.chosen import make
from flows.enrichment.geoip import _Database
from flows.enrichment.known import Known
from flows.settings import load
from flows.steps import enrich_step
from settings import Settings
from tests.conftest import ROOT, Pipeline
from tests.parsing_checks import parse

WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"


# The setting


def test_patterns_alone_are_on_by_default() -> None:
    assert list(make(Settings(_env_file=None), Status())) == ["patterns"]


def test_none_turns_all_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENRICHERS", "none")
    assert make(load(), Status()) == {}


def test_an_enricher_that_does_not_exist_is_a_wrong_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ENRICHERS", " user_agent, weather,")
    with pytest.raises(SettingsError, match=r"'weather' is unknown; known are .*user_agent"):
        load()


def test_a_library_that_is_not_installed_is_named_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ENRICHERS", "user_agent")
    monkeypatch.setitem(sys.modules, "ua_parser.regex", None)
    monkeypatch.delitem(sys.modules, "flows.enrichment.user_agent", raising=False)
    with pytest.raises(SettingsError, match=r"ENRICHERS='user_agent': .*ua_parser.*\[enrich\]"):
        load()


def test_without_the_libraries_of_enrichers_everything_else_starts(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path, 0)
    (tmp_path / "a.log").write_text('{"ts": 1793527200}\n')
    missing = "maxminddb, ua_parser, ua_parser_builtins, ua_parser_rs"  # as in ./start.sh
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys\nsys.modules.update(dict.fromkeys({missing.split(', ')}))\n"
    )
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    done = pipeline.run(
        PYTHONPATH=path, LOG_PATHS="a.log", LOG_FORMAT="json", STORE="sqlite", INSTANCE="a"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("lines=1 stored=1 ")


# What is found out once for each text


def lengths() -> tuple[Known, list[str]]:
    """Columns made of the length of a text, and the texts that were looked at."""
    asked: list[str] = []

    def find(texts: object) -> list[tuple[object, ...]]:
        asked.extend(texts)  # type: ignore[call-overload]
        return [(len(text), text.upper()) for text in texts]  # type: ignore[attr-defined]

    return Known(find, {"length": pl.Int64(), "upper": pl.String()}), asked


def test_a_text_is_looked_at_once_whatever_batches_it_is_in() -> None:
    found, asked = lengths()
    for texts in (["a", "bb", "a"], ["bb", "", "a", ""], []):
        rows = pl.DataFrame({"text": texts}, schema={"text": pl.String})
        assert found.add_to(rows, "text").rows() == [(t, len(t), t.upper()) for t in texts]
    assert sorted(asked) == ["", "a", "bb"]


def test_only_so_many_texts_are_kept_and_only_their_beginnings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(known, "_MOST", 3)
    found, asked = lengths()
    for texts in (["a", "b", "c"], ["d", "a"], ["a" * 5000, "e", "f", "g"]):
        rows = found.add_to(pl.DataFrame({"text": texts}), "text")
        assert rows["length"].to_list() == [min(len(text), 1000) for text in texts]
    assert asked == ["a", "b", "c", "d", "a", "a" * 1000, "e", "f", "g"]


def test_rows_without_the_column_stay_as_they_are() -> None:
    rows = pl.DataFrame({"other": ["a"]})
    assert lengths()[0].add_to(rows, "text").equals(rows)


# user_agent


@pytest.fixture(scope="module")
def agents() -> object:
    """The enrich step with `user_agent`, whose rules take a while to read."""
    return enrich_step(Settings(_env_file=None, enrichers="user_agent"), Status())


def of_agent(agents: object, agent: str) -> dict[str, object]:
    line = json.dumps({"ts": 0, "ua": agent}).encode()
    rows = agents(parse("json", line + b"\n")).rows  # type: ignore[operator]
    names = columns_with(["user_agent"]).keys() - columns_with([]).keys()
    return {name: rows[name].item() for name in names}


@pytest.mark.parametrize(
    ("agent", "browser", "system", "device", "kind"),
    [
        (
            f"Mozilla/5.0 (Windows NT 10.0; Win64) {WEBKIT} Chrome/131.0.6778.86 Safari/537.36",
            "Chrome 131.0.6778",
            "Windows 10",
            "",
            "PC",
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 "
            "(KHTML, like Gecko) Version/17.1 Safari/605.1.15",
            "Safari 17.1",
            "Mac OS X 10.15.7",
            "Mac",
            "PC",
        ),
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0",
            "Firefox 115.0",
            "Linux ",
            "",
            "PC",
        ),
        (
            "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Tablet PC 2.0)",
            "IE 8.0",
            "Windows 7",
            "",
            "PC",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 "
            "(KHTML, like Gecko) Version/17.1 Mobile/15E148 Safari/604.1",
            "Mobile Safari 17.1",
            "iOS 17.1",
            "iPhone",
            "Mobile",
        ),
        (
            "Mozilla/5.0 (iPad; CPU OS 16_0 like Mac OS X) AppleWebKit/605.1.15 "
            "(KHTML, like Gecko) Version/16.0 Mobile/15E148 Safari/604.1",
            "Mobile Safari 16.0",
            "iOS 16.0",
            "iPad",
            "Tablet",
        ),
        (
            f"Mozilla/5.0 (Linux; Android 13; SM-G991B) {WEBKIT} Chrome/120.0.0.0 Mobile "
            "Safari/537.36",
            "Chrome Mobile 120.0.0",
            "Android 13",
            "Samsung SM-G991B",
            "Mobile",
        ),
        (
            f"Mozilla/5.0 (Linux; Android 13; SM-X700) {WEBKIT} Chrome/120.0.0.0 Safari/537.36",
            "Chrome 120.0.0",
            "Android 13",
            "SM-X700",
            "Tablet",
        ),
        (
            f"Mozilla/5.0 (Linux; Android 9; BRAVIA 4K UR2) {WEBKIT} Chrome/90.0 Safari/537.36 TV",
            "Chrome 90.0",
            "Android 9",
            "BRAVIA 4K UR2",
            "Unknown",
        ),
        (
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Googlebot 2.1",
            " ",
            "Spider",
            "bot",
        ),
        ("curl/8.7.1", "curl 8.7.1", " ", "", "Unknown"),
        ("\u0000\ud7ff\U0010ffff(((", " ", " ", "", "Unknown"),
        ("", " ", " ", "", ""),
    ],
)
def test_browser_system_and_device_of_an_agent(
    agents: object, agent: str, browser: str, system: str, device: str, kind: str
) -> None:
    found = of_agent(agents, agent)
    assert f"{found['browser_family']} {found['browser_version']}" == browser
    assert f"{found['os_family']} {found['os_version']}" == system
    assert (found["device_family"], found["device_type"]) == (device, kind)
    assert found["is_bot"] == (kind == "bot")


def test_the_columns_have_the_types_that_stores_expect(agents: object) -> None:
    line = b'203.0.113.7 - - [22/Nov/2026:20:15:05 +0000] "GET / HTTP/1.1" 200 5 "-" "curl/8"\n'
    rows = agents(parse("combined", line * 2)).rows  # type: ignore[operator]
    columns = columns_with(["user_agent"])
    assert {name: columns[name] for name in rows.columns} == dict(rows.schema)
    assert rows["browser_family"].to_list() == ["curl", "curl"]
    assert sum(rows.null_count().row(0)) == 0


# geoip

ALL_LANGUAGES = {"de": "Indien", "en": "India", "fr": "Inde"}
OF_MUMBAI = {
    "country": {"iso_code": "IN", "names": ALL_LANGUAGES},
    "subdivisions": [{"iso_code": "MH", "names": {"en": "Maharashtra"}}, {"iso_code": "XX"}],
    "city": {"names": {"en": "Mumbai"}},
    "location": {"latitude": 19.0748, "longitude": 72.8856},
}
MUMBAI = ("India", "Maharashtra", "MH", "Mumbai", 19.0748, 72.8856, 0)
OF_FLAT = {
    "country": "Australia",
    "region": "Queensland",
    "city": "Brisbane",
    "lat": "-27.46",
    "lng": "153.02",
    "asn": "AS13335",
}
FLAT = ("Australia", "Queensland", "", "Brisbane", -27.46, 153.02, 13335)
NOWHERE = ("", "", "", "", 0.0, 0.0, 0)


def write_places(path: Path, places: dict[str, object], version: int = 6) -> Path:
    """A file in MaxMind's format, put into its place at once."""
    writer = MMDBWriter(version, "Test", ipv4_compatible=version == 6)
    for network, record in places.items():
        writer.insert_network(IPSet([network]), record)
    writer.to_db_file(str(path.with_suffix(".new")))
    path.with_suffix(".new").replace(path)
    return path


class Geo:
    """The enrich step with `geoip`, and what it says to its status."""

    def __init__(self, *paths: Path) -> None:
        self.status = Status()
        names = ",".join(map(str, paths))
        settings = Settings(_env_file=None, enrichers="geoip", geoip_db=names)
        self._step = enrich_step(settings, self.status)

    def places(self, *addresses: str) -> list[tuple[object, ...]]:
        lines = [json.dumps({"ts": 0, "ip": address}) + "\n" for address in addresses]
        rows = self._step(parse("json", "".join(lines).encode())).rows
        columns = columns_with(["geoip"])
        assert {name: columns[name] for name in rows.columns} == dict(rows.schema)
        return rows.select(ENRICHED["geoip"].keys()).rows()


def test_places_are_those_of_the_file_in_whichever_way_it_has_them(tmp_path: Path) -> None:
    places = {
        "203.0.113.0/24": OF_MUMBAI,
        "198.51.100.0/24": OF_FLAT,
        "192.0.2.0/25": {"country": {"iso_code": "FR"}, "city": {"names": {"de": "Nizza"}}},
        "192.0.2.128/25": {"country": 7, "subdivisions": [], "location": "?", "asn": "none"},
        "2001:db8::/32": {"country_code": "DE", "autonomous_system_number": 2**32 - 1},
    }
    geo = Geo(write_places(tmp_path / "city.mmdb", places))
    assert geo.places("203.0.113.7", "198.51.100.1", "::FFFF:203.0.113.9") == [MUMBAI, FLAT, MUMBAI]
    assert geo.places("192.0.2.1", "192.0.2.200", "2001:db8::1", "203.0.113.7") == [
        ("FR", *NOWHERE[1:]),
        NOWHERE,
        ("DE", *NOWHERE[1:6], 2**32 - 1),
        MUMBAI,
    ]
    assert geo.status.problems == []


@pytest.mark.parametrize("bits", [24, 28, 32])
def test_files_of_any_size_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: int
) -> None:
    """Numbers in their trees have 24, 28 or 32 bits; the largest here have 25."""

    def widen(writer: TreeWriter) -> None:
        writer.record_size = bits
        writer.data_offset = bits // 4 * writer._node_counter

    monkeypatch.setattr(TreeWriter, "_adjust_record_size", widen)
    large = {} if bits == 24 else {f"192.0.{n}.0/24": {"x": f"{n}" * 9_000_000} for n in range(2)}
    places = {**large, "1.0.0.0/24": OF_FLAT, "128.0.0.0/2": OF_FLAT, "203.0.113.7/32": OF_MUMBAI}
    path = write_places(tmp_path / "city.mmdb", places)
    packed = [ip_address(text).packed for text in ("203.0.113.7", "1.0.0.9", "128.0.0.1")]
    with open_database(path, MODE_MMAP) as reader:
        assert reader.metadata().record_size == bits
        leaves = [reader._find_address_in_tree(bytearray(one))[0] for one in packed]
    assert _Database(str(path)).leaves(packed).tolist() == leaves
    addresses = ["203.0.113.7", "203.0.113.6", "1.0.0.9", "1.0.1.0", "191.255.255.255", "::2"]
    assert Geo(path).places(*addresses) == [MUMBAI, NOWHERE, FLAT, NOWHERE, FLAT, NOWHERE]


@pytest.mark.parametrize("version", [4, 6])
def test_what_is_no_address_of_the_file_has_no_place(tmp_path: Path, version: int) -> None:
    geo = Geo(write_places(tmp_path / "city.mmdb", {"1.2.0.0/16": OF_MUMBAI}, version))
    addresses = ["10.0.0.1", "1.2.3", "01.2.3.4", "1.2.3.4:80", "::1", "fe80::1%eth0", "66051"]
    addresses += ["2001:db8::1", "www.example.com", "1.2.3.4\u0000", "\u0661.2.3.4", ""]
    assert geo.places("1.2.3.4", *addresses) == [MUMBAI, *[NOWHERE] * len(addresses)]
    assert geo.status.problems == []


def test_of_several_files_the_first_that_knows_counts(tmp_path: Path) -> None:
    asn = {"autonomous_system_number": 64500, "country": "Elsewhere"}
    city = write_places(tmp_path / "city.mmdb", {"203.0.113.0/24": OF_MUMBAI})
    network = write_places(tmp_path / "asn.mmdb", {"203.0.0.0/8": asn}, version=4)
    assert Geo(city, network).places("203.0.113.7", "203.9.9.9") == [
        (*MUMBAI[:6], 64500),
        ("Elsewhere", *NOWHERE[1:6], 64500),
    ]


def test_a_file_that_is_replaced_counts_from_the_next_batch_on(tmp_path: Path) -> None:
    path = write_places(tmp_path / "city.mmdb", {"203.0.113.0/24": OF_MUMBAI})
    geo = Geo(path)
    with open_database(path) as reader:
        day = datetime.fromtimestamp(reader.metadata().build_epoch, timezone.utc).date()
    assert geo.status.geoip_files == {str(path): str(day)}  # before the first line
    assert geo.places("203.0.113.7") == [MUMBAI]
    write_places(path, {"203.0.113.0/24": OF_FLAT})
    assert geo.places("203.0.113.7") == [FLAT]
    path.write_bytes(path.read_bytes()[:100])  # as a copy that has only begun
    assert geo.places("203.0.113.7", "203.0.113.8") == [FLAT, FLAT]
    assert geo.status.problems == [f"GEOIP_DB: {path} is no file in MaxMind's format."]
    path.unlink()
    assert geo.places("203.0.113.9") == [FLAT]
    assert geo.status.problems == [f"GEOIP_DB: cannot read {path}: No such file or directory."]
    write_places(path, {"203.0.113.0/24": OF_MUMBAI})
    assert geo.places("203.0.113.7") == [MUMBAI]
    assert geo.status.problems == []


def test_a_damaged_record_is_a_problem_and_no_stop(tmp_path: Path) -> None:
    path = write_places(tmp_path / "city.mmdb", {"203.0.113.0/24": OF_MUMBAI})
    whole = path.read_bytes()
    for wrong in (b"\x42\xff\xfe", b"\x5d\xff\xff"):  # no UTF-8; a text behind the end
        path.write_bytes(whole.replace(b"\x42en", wrong))
        geo = Geo(path)
        assert geo.places("203.0.113.7") == [NOWHERE]
        (problem,) = geo.status.problems
        assert problem.startswith(f"GEOIP_DB: {path} is damaged: ")


def test_files_that_cannot_be_used_are_wrong_settings_all_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, missing = tmp_path / "places.csv", tmp_path / "missing.mmdb"
    text.write_text("1.2.3.4,India\n")
    monkeypatch.setenv("ENRICHERS", "geoip")
    with pytest.raises(SettingsError, match="ENRICHERS='geoip': geoip needs GEOIP_DB"):
        load()
    monkeypatch.setenv("GEOIP_DB", f"{text}, {missing}")
    monkeypatch.setenv("LOG_FORMAT", "xml")
    with pytest.raises(SettingsError) as caught:
        load()
    problem, _ = sorted(caught.value.problems)
    assert f"{text} is no file in MaxMind's format; cannot read {missing}: No such" in problem


# visitor


def test_a_first_visit_is_one_that_its_event_calls_so() -> None:
    step = enrich_step(Settings(_env_file=None, enrichers="visitor"), Status())

    def first(*attributes: object) -> list[bool]:
        lines = [json.dumps({"ts": 0} if one is None else {"ts": 0, **one}) for one in attributes]
        rows = step(parse("json", "".join(f"{line}\n" for line in lines).encode())).rows
        found: list[bool] = rows["first_time_visit"].to_list()
        return found

    key = "first_time_visit"
    assert first({key: True}, {key: "true"}, {key: False}, {key: "false"}, {key: None}) == [
        *(True, True),
        *(False, False, False),
    ]
    assert first({"a": {key: True}}, {"a": f'"{key}":true'}, {"a": 1, key: True}, {"a": 1}) == [
        *(False, False),
        *(True, False),
    ]
    assert first(None, {"a": 1}) == [False, False]


# From files into stores


def test_lines_of_files_are_enriched_and_the_console_shows_it(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    log = pipeline.directory / "in.log"
    log.write_text(
        '203.0.113.7 - - [22/Nov/2026:20:15:05 +0000] "GET / HTTP/1.1" 200 5 "-" "curl/8.7.1"\n'
    )
    done = pipeline.run(
        LOG_PATHS=log,
        LOG_FORMAT="combined",
        STORE="console",
        ENRICHERS="user_agent,geoip",
        GEOIP_DB=write_places(tmp_path / "city.mmdb", {"203.0.113.0/24": OF_MUMBAI}),
    )
    row = json.loads(done.stdout)
    assert (row["browser_family"], row["browser_version"]) == ("curl", "8.7.1")
    assert (row["city"], row["status_class"]) == ("Mumbai", "2xx")
