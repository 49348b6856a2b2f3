"""What the documentation says is what the code does, wherever that can be compared."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, cast
from zoneinfo import ZoneInfo

import polars as pl
import pytest
import typer

from api.app import create_app
from api.metrics import of_pipeline
from api.schemas import Health
from cli.main import app as commands
from connectors.batch import COLUMNS, ENRICHED, REJECTED, Taken, columns_with
from connectors.encodings import UTF_8
from connectors.sinks import STORES
from connectors.sinks.clickhouse.tables import DEAD_LETTERS_TABLE, columns_of, logs_table
from connectors.sources.records import Piece, taken
from connectors.status import SourceStatus, Status
from connectors.store import Reader
from flows.parsing import FORMATS
from flows.parsing.choice import describe
from flows.parsing.dialects import ALIASES, DIALECTS, Dialect
from flows.parsing.parser import DURATION_UNITS, parser
from logwax_capture.outbox.service import Variables
from settings import Settings
from tests.conftest import Pipeline
from tests.parsing_checks import certain, row_of

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*.md")]
)
UNIT_OF: dict[int | None, str] = {shift: unit for unit, shift in DURATION_UNITS.items()}
UNITS = {
    None: "`LOG_DURATION_UNIT`",
    0: "seconds",
    3: "milliseconds",
    6: "microseconds",
    9: "nanoseconds",
}


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def code_blocks(text: str, language: str = "") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def table(text: str, *header: str) -> list[list[str]]:
    """The cells of all tables with this header."""
    lines = text.splitlines()
    rows: list[list[str]] = []
    for number, line in enumerate(lines):
        if cells(line) == list(header):
            for row in lines[number + 2 :]:
                if not row.startswith("|"):
                    break
                rows.append(cells(row))
    assert rows, f"no table {header}"
    return rows


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def code(text: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", text)


# --- settings and commands -------------------------------------------------------------------


def default_of(name: str) -> str:
    field = Settings.model_fields[name]
    if field.default_factory or str(field.default) in ("None", ""):
        return ""
    value = field.default
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def test_every_setting_is_documented_with_its_default_and_its_meaning() -> None:
    expected = [
        [f"`{name.upper()}`", default_of(name), field.description]
        for name, field in Settings.model_fields.items()
    ]
    found = table(page("docs/configuration.md"), "Name", "Default", "Meaning")
    missing = ["| " + " | ".join(map(str, row)) + " |" for row in expected if row not in found]
    assert missing == [], "lines to put into docs/configuration.md"
    assert sorted(found) == sorted(expected)  # each once, and no others


def test_every_store_is_documented() -> None:
    found = table(page("docs/configuration.md"), "Store", "What it is")
    assert found == [[f"`{kind.name}`", kind.meaning] for kind in STORES.values()]


@pytest.mark.parametrize("name", [path.relative_to(ROOT).as_posix() for path in PAGES])
def test_no_page_speaks_of_a_setting_that_does_not_exist(name: str) -> None:
    families = "LOG|STREAM|API|CLICKHOUSE|MAX|RETENTION|DATA|STORE|LEDGER|INFLUXDB"
    named = set(re.findall(rf"\b(?:{families})_[A-Z_]*[A-Z]\b", page(name)))
    known = [*Settings.model_fields, *Variables._fields]
    assert named - {field.upper() for field in known} == set()


def test_every_command_and_option_is_documented() -> None:
    rows = table(page("docs/configuration.md"), "Command", "What it does")
    said = {code(name)[0]: set(code(meaning)) for name, meaning in rows}
    group = typer.main.get_command(commands)
    subcommands: dict[str, Any] = cast("Any", group).commands
    assert {name for name in said if name.startswith("logwax ")} == {
        f"logwax {name}" for name in subcommands
    }
    for name, command in subcommands.items():
        words = said[f"logwax {name}"]
        options = {flag for option in command.params for flag in option.opts}
        assert options - words == set(), name
        assert {word for word in words if word.startswith("--")} - options == set(), name


@pytest.mark.parametrize("script", sorted(path.name for path in ROOT.glob("*.sh")))
def test_every_script_and_its_options_are_documented(script: str) -> None:
    text = page("docs/configuration.md")
    assert f"`./{script}`" in text
    usage = re.search(r'^usage="(.*)"', page(script), re.MULTILINE)
    for option in re.findall(r"--[a-z-]+", usage.group(1) if usage else ""):
        assert f"`./{script} {option}`" in text


def test_every_option_of_the_tests_is_documented() -> None:
    for option in re.findall(r'addoption\(\s*"(--[a-z-]+)"', page("tests/conftest.py")):
        assert f"`./run_tests.sh {option}`" in page("docs/configuration.md")


# --- formats and columns ---------------------------------------------------------------------


def test_every_column_is_documented_with_its_type() -> None:
    rows = table(page("docs/formats.md"), "Column", "Type", "Meaning")
    documented = {name: code(row[1])[0] for row in rows if code(row[1]) for name in code(row[0])}
    stored = columns_of(logs_table(ENRICHED))
    assert stored.keys() - columns_with(ENRICHED).keys() == {"ingested_at"}
    assert {name: documented.get(name) for name in stored} == stored
    dead = columns_of(DEAD_LETTERS_TABLE)
    assert dead.keys() - REJECTED.keys() == {"seen_at"}
    assert {name: documented.get(name) for name in dead} == dead
    assert documented.keys() == stored.keys() | dead.keys()


@pytest.mark.parametrize("name", ENRICHED)
def test_every_enricher_is_documented_with_what_it_is_made_of(name: str) -> None:
    assert f"\n- `{name}`: " in page("docs/formats.md")


def test_every_alias_of_json_is_documented() -> None:
    expected: list[list[str]] = []
    for alias in ALIASES:
        unit = UNITS[alias.shift] if alias.column == "duration" else ""
        column = f"`{alias.column}`"
        if expected and (expected[-1][0], expected[-1][2]) == (column, unit):
            expected[-1][1] += f", `{alias.key}`"
        else:
            expected.append([column, f"`{alias.key}`", unit])
    assert table(page("docs/formats.md"), "Column", "Keys", "Unit") == expected


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_every_dialect_is_documented_with_its_keys(dialect: Dialect) -> None:
    tells = " or ".join(" and ".join(f"`{key}`" for key in tell) for tell in dialect.tells)
    keys: dict[str, list[str]] = {}
    for alias in dialect.aliases:
        unit = f" ({UNIT_OF[alias.shift]})" if alias.column == "duration" else ""
        keys.setdefault(alias.column, []).append(f"`{alias.key}`{unit}")
    meant = "; ".join(f"{column}: {', '.join(each)}" for column, each in keys.items())
    words = " ".join(page("docs/formats.md").split())
    assert f"- **{dialect.name}**, known by {tells}. {meant}." in words


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_documented_with_a_line_that_it_takes(name: str) -> None:
    chapter = page("docs/formats.md").partition(f"## `{name}`\n")[2].partition("\n## ")[0]
    (line, *_) = code_blocks(chapter)
    assert line.removesuffix("\n") == describe(name).samples[0]
    row = row_of(name, line.removesuffix("\n"))
    assert (row.get("status_code") or 200) == 200
    assert str(row["timestamp"]).startswith("2026-11-22 20:15:05")


def test_every_reason_of_a_dead_letter_is_documented() -> None:
    documented = {
        reason
        for row in table(page("docs/formats.md"), "Reason", "Formats", "Meaning")
        for reason in code(row[0])
    }
    sources = "".join(path.read_text() for path in (ROOT / "flows" / "parsing").rglob("*.py"))
    raised = set(re.findall(r'(?:MalformedLine\(\s*|reason=)"([a-z_0-9]+)"', sources))
    assert raised, "reasons are literals"
    assert raised - documented == set()


# --- what operators read ---------------------------------------------------------------------


def test_every_sentence_that_operations_explains_is_in_the_code() -> None:
    folders = ("api", "cli", "connectors", "flows", "log_generator", "scripts")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    files += [ROOT / "settings.py", *ROOT.glob("*.sh")]
    texts = [path.read_text() for path in files if path.suffix != ".pyc"]
    explained = [
        code(row[0])[0] for row in table(page("docs/operations.md"), "Sentence", "What to do")
    ]
    assert [text for text in explained if not any(text in source for source in texts)] == []


def test_every_field_of_health_is_explained() -> None:
    explained = [code(row[0])[0] for row in table(page("docs/operations.md"), "Field", "Meaning")]
    assert explained == list(Health.model_fields)


def test_every_metric_is_explained() -> None:
    told = []
    for metric in of_pipeline(Status(), SourceStatus()):
        name = metric.name + ("_total" if metric.type == "counter" else "")
        told.append([f"`{name}`", metric.type, metric.documentation])
    assert table(page("docs/operations.md"), "Metric", "Type", "Meaning") == told


def test_every_route_of_the_api_is_in_the_readme() -> None:
    app = create_app(cast(Reader, None))
    assert [path for path in app.openapi()["paths"] if path not in page("README.md")] == []


@pytest.mark.parametrize("name", [path.relative_to(ROOT).as_posix() for path in PAGES])
def test_no_cell_of_a_table_is_a_paragraph(name: str) -> None:
    rows = [line for line in page(name).splitlines() if line.startswith("|")]
    assert [cell for row in rows for cell in cells(row) if len(cell) > 200] == []


# --- links, and tests that are named ---------------------------------------------------------


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as code forges make them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", [path.relative_to(ROOT).as_posix() for path in PAGES])
def test_every_link_leads_somewhere(name: str) -> None:
    text = page(name)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        assert "://" not in target, f"{target}: the documentation stands by itself"
        path, _, anchor = target.partition("#")
        linked = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked.read_text(encoding="utf-8")), target


def test_every_test_that_is_named_exists() -> None:
    named = re.findall(
        r"`(?:tests/)?(test_\w+\.py)::(test_\w+)`", page("docs/delivery-guarantees.md")
    )
    assert len(named) > 20
    for file, test in named:
        tree = ast.parse(page(f"tests/{file}"))
        assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_test_that_the_page_for_applications_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+\.py)::(test_\w+)`", page("docs/capture.md")))
    files = [*(ROOT / "capture" / "tests").rglob("test_*.py"), *(ROOT / "tests").glob("test_*.py")]
    there = {
        (file.name, node.name)
        for file in files
        if file.name in {name for name, _ in named}
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }
    assert named - there == set()


@pytest.mark.parametrize("name", [path.relative_to(ROOT).as_posix() for path in PAGES])
def test_every_path_that_is_named_exists(name: str) -> None:
    named = re.findall(
        r"`((?:api|cli|connectors|flows|log_generator|tests|docs|examples|scripts)/[\w/.-]*)`",
        page(name),
    )
    made_up = {
        "flows/parsing/formats/tabs.py",
        "flows/enrichment/level.py",
        "connectors/sources/memory.py",
    }
    assert [path for path in named if path not in made_up and not (ROOT / path).exists()] == []


def test_the_layout_is_that_of_the_files() -> None:
    layout = page("docs/architecture.md").partition("## Layout")[2]
    folder, named = "", set()
    for line in code_blocks(layout)[0].splitlines():
        paths = re.findall(r"(?:^|(?<= ))[\w/]+(?:\.py|/)(?= |$)", line)
        if not line.startswith(" "):
            folder = paths[0] if paths[0].endswith("/") else ""
            named |= set(paths)
        elif paths[0].endswith("/"):
            folder, named = paths[0], named | {paths[0]}
        else:
            named |= {folder + path for path in paths}
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "connectors").rglob("*.py")}
    assert {path for path in modules if not path.endswith("__init__.py")} - named == set()


# --- the examples in docs/extending.md ---------------------------------------------------------


def extension(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module that docs/extending.md shows, as if it were in its place."""
    title = name.rpartition(".")[2]
    (source,) = (
        block for block in code_blocks(page("docs/extending.md"), "python") if f"`{title}`" in block
    )
    module = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(source, f"docs/extending.md: {title}", "exec"), module.__dict__)
    return module


def batch_of(data: bytes) -> Taken:
    return taken([Piece.at((7, "/var/log/a.log", 0), data, UTF_8)], UTF_8, 1024)


def test_the_format_in_the_text_works_as_a_format(monkeypatch: pytest.MonkeyPatch) -> None:
    extension("flows.parsing.formats.tabs", monkeypatch)
    monkeypatch.setitem(FORMATS, "tabs", "flows.parsing.formats.tabs")
    good = b"2026-11-22T20:15:05Z\tcust_1\t/a\t200\n"
    odd = good.replace(b"200", b"999")
    bad = [good.replace(b"\t200", b""), b"\xff\n"]
    parsed = parser("tabs", "UTC")(batch_of(good + b"".join(bad) + good + odd))
    assert parsed.rows["offset"].to_list()[:2] == [0, len(good + b"".join(bad))]
    assert parsed.rows["status_code"].to_list() == [200, 200, 0]
    assert parsed.rows["attributes"].to_list() == ["{}", "{}", '{"status_code":"999"}']
    assert parsed.misfits == {"status_code": 1}
    assert parsed.rejected["reason"].to_list() == ["wrong_fields", "wrong_fields"]


def test_the_format_in_the_text_is_read_the_fast_way(monkeypatch: pytest.MonkeyPatch) -> None:
    form = extension("flows.parsing.formats.tabs", monkeypatch).FORMAT.make(ZoneInfo("UTC"))
    times = ["2026-11-22T20:15:05Z", "2026-11-22T20:15:05.5Z", "2026-13-22T20:15:05Z", ""]
    states = ["200", "599", "+20", "0200", "99", "2e2", "", "200\t"]
    texts = [f"{time}\tcust_1\t/a\t{state}" for time in times for state in states]
    assert certain(form, texts)[:4] == [True, True, False, False]
    assert sum(certain(form, texts)) == 4


def test_the_enricher_in_the_text_works_as_an_enricher(monkeypatch: pytest.MonkeyPatch) -> None:
    enrich = extension("flows.enrichment.level", monkeypatch).enrich
    rows = pl.DataFrame({"status_code": pl.Series([200, 404, 503], dtype=pl.UInt16)})
    assert enrich(rows)["level"].to_list() == ["info", "warning", "error"]
    without = pl.DataFrame({"customer_id": ["c"]})
    assert enrich(without).equals(without)
    assert set(enrich(rows).columns) <= COLUMNS.keys()


def test_the_store_in_the_text_works_as_a_store_of_another_package(tmp_path: Path) -> None:
    text = page("docs/extending.md")
    for title in ("lines_store", "lines_printer"):
        _, after = text.split(f"\n`{title}.py`", 1)
        (tmp_path / f"{title}.py").write_text(code_blocks(after, "python")[0])
    named = re.search(r'entry-points\."(.+?)"\]`,\s`(.+?)`', text)
    assert named
    metadata = tmp_path / "lines_store-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: lines-store\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(f"[{named[1]}]\n{named[2].replace(chr(34), '')}\n")
    (tmp_path / "a.log").write_text('{"ts": "2026-11-22T20:15:05Z", "customer": "cust_1"}\n')
    pipeline = Pipeline(tmp_path, 0)
    chosen = {"STORE": "lines", "LINES_PREFIX": "row ", "LOG_PATHS": "a.log", "LOG_FORMAT": "json"}
    done = pipeline.run(PYTHONPATH=f"{ROOT}{os.pathsep}{tmp_path}", **chosen)
    assert done.returncode == 0, done.stderr
    line, _ = done.stdout.splitlines()
    assert json.loads(line.removeprefix("row "))["customer_id"] == "cust_1"


def test_the_source_in_the_text_has_each_record_stored_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from bytewax.testing import run_main

    from connectors.sources.source import SourceInput
    from connectors.store import open_store
    from flows.enrichment.enricher import enricher
    from flows.main import build

    memory = extension("connectors.sources.memory", monkeypatch)
    settings = Settings(_env_file=None, data_dir=tmp_path, log_format="json")
    records = dict.fromkeys((10, 12, 40), b'{"ts":0,"msg":"m"}\n') | {20: b"bad\n"}

    def stored() -> tuple[int | None, int | None, set[int]]:
        rows, dead = asyncio.run(store.reader.counts())
        return rows, dead, store.offsets(1, 0, 100)

    store = open_store(settings)
    taken = memory.MemorySource(records, store.ledger(), most=2).collect()
    store.writer().write(enricher()(parser("json", "UTC")(taken)))  # and is killed
    store.close()
    store = open_store(settings)
    assert len(store.ledger().in_doubt) == 1
    source = memory.MemorySource(records, store.ledger(), most=2)
    run_main(build(settings, SourceInput(source, follow=False), store, Status()))
    assert stored() == (3, 1, {10, 12, 20, 40})
    store.close()
    store, records[41] = open_store(settings), records[40]
    source = memory.MemorySource(records, store.ledger())
    run_main(build(settings, SourceInput(source, follow=False), store, Status()))
    assert stored() == (4, 1, {10, 12, 20, 40, 41})
    store.close()


def test_the_job_in_the_text_stores_all_records_and_none_again(tmp_path: Path) -> None:
    blocks = code_blocks(page("docs/extending.md"), "python")
    (tmp_path / "numbers_job.py").write_text(next(b for b in blocks if "`numbers_job`" in b))
    source = next(block for block in blocks if "`memory`" in block)
    where = "import sys, types\nfrom connectors import sources\n"
    where += "memory = types.ModuleType('connectors.sources.memory')\n"
    where += f"exec({source!r}, memory.__dict__)\nsys.modules[memory.__name__] = memory\n"
    (tmp_path / "sitecustomize.py").write_text(where)
    pipeline = Pipeline(tmp_path, 0)
    chosen = {"STORE": "sqlite", "INSTANCE": "host", "LOG_FORMAT": "json"}
    chosen["PYTHONPATH"] = f"{ROOT}{os.pathsep}{tmp_path}"
    for stored in (1000, 0):
        done = pipeline.run(job="numbers_job", **chosen)
        assert done.returncode == 0, done.stderr
        assert f"stored={stored} dead=0" in done.stdout
