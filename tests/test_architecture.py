"""The shape of the code: who may import whom, what the tables promise, what no file may name."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from connectors.batch import ENRICHED
from connectors.sinks import STORES
from connectors.sinks.kind import StoreKind
from flows.enrichment import ENRICHERS
from flows.parsing import FORMATS

ROOT = Path(__file__).resolve().parent.parent
OURS = {
    "api",
    "benchmarks",
    "cli",
    "connectors",
    "examples",
    "flows",
    "log_generator",
    "native",
}

MAY_IMPORT = {
    "native": set(),
    "connectors": {"native"},
    "flows": {"connectors", "native", "api"},  # api: by flows/process.py only, see below
    "api": {"connectors"},
    "cli": OURS,
    "log_generator": {"connectors"},  # connectors.errors by __main__ only, see below
}
"""Package -> the other packages it may import; beside these everybody may import `settings`."""

IN_ANOTHER_SENSE: dict[str, set[str]] = {
    "null": {"flows/parsing/formats/logfmt.py", "flows/parsing/times.py"},  # of JSON, of Polars
}
"""Store -> files in which its name means something else."""

MADE = {".git", ".venv", ".hypothesis", "build", "data", "__pycache__"}
MADE_END = re.compile(r"(_cache|\.egg-info)$")
ENDINGS = {".py", ".js", ".json", ".rows", ".md", ".sh", ".toml", ".txt", ".yml", ".yaml"}
ENDINGS |= {".local", ".cfg", ""}


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The modules that a file imports, anywhere in it, by their full names."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names.add(str(node.module))
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def packages(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported(path)} & OURS


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_one_way(package: str) -> None:
    allowed = MAY_IMPORT[package] | {package}
    upwards = {
        str(path.relative_to(ROOT)): beyond
        for path in sources(package)
        if (beyond := packages(path) - allowed)
    }
    assert upwards == {}


OF_APPLICATIONS = ROOT / "capture" / "logwax_capture"


def test_the_package_of_applications_knows_nothing_of_the_rest() -> None:
    modules = [path for path in OF_APPLICATIONS.rglob("*.py") if path.is_file()]
    assert modules
    strangers = {name for path in modules for name in imported(path)}
    assert {name for name in strangers if name.partition(".")[0] in {*OURS, "settings"}} == set()


def test_the_rest_knows_of_it_only_what_its_tables_are_and_are_asked() -> None:
    known = {
        name
        for package in MAY_IMPORT
        for path in sources(package)
        for name in imported(path)
        if name.startswith("logwax_capture")
    }
    outbox = {f"logwax_capture.outbox.{part}" for part in ("table", "connections", "clickhouse")}
    tables = {"logwax_capture.local_tables", *outbox}
    names = {name if name in tables else name.rpartition(".")[0] for name in known}
    assert names - {"", "logwax_capture"} <= tables


def test_a_flow_knows_the_api_only_where_its_process_is_put_together() -> None:
    importing = [path.name for path in sources("flows") if "api" in packages(path)]
    assert importing == ["process.py"]


def test_the_log_generator_knows_no_more_than_errors() -> None:
    connectors = {
        name
        for path in sources("log_generator")
        for name in imported(path)
        if name.startswith("connectors") and name not in ("connectors", "connectors.errors")
    }
    assert {name.rpartition(".")[0] for name in connectors} <= {"connectors.errors"}


def test_settings_know_errors_and_stores_and_nothing_above() -> None:
    ours = {name for name in imported(ROOT / "settings.py") if name.partition(".")[0] in OURS}
    known = ("connectors.errors", "connectors.sinks", "connectors.sources.rules")
    assert {name for name in ours if not name.startswith(known)} == set()


def test_whoever_parses_lines_has_the_format_looked_up_with_the_settings() -> None:
    loading = [path for name in ("flows", "cli") for path in sources(name)]
    unchecked = [path.name for path in loading if "settings.load" in imported(path)]
    assert unchecked == []


def test_settings_cost_no_library_of_a_store() -> None:
    asked = "import settings, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "settings" in loaded
    assert not loaded & {"polars", "rich", "clickhouse_connect", "influxdb_client", "chdb"}


@pytest.mark.parametrize(("name", "module"), FORMATS.items())
def test_every_format_has_its_module(name: str, module: str) -> None:
    from zoneinfo import ZoneInfo

    made = import_module(module).FORMAT.make(ZoneInfo("UTC"))
    assert callable(made.line), name
    assert callable(made.columns), name


@pytest.mark.parametrize("kind", STORES.values(), ids=lambda kind: kind.name)
def test_every_store_has_its_module(kind: StoreKind) -> None:
    module = import_module(kind.module)
    assert callable(module.open_store)
    assert hasattr(module, "open_reader") == kind.is_shared


@pytest.mark.parametrize("kind", STORES.values(), ids=lambda kind: kind.name)
def test_the_name_of_a_store_stands_in_its_own_package_only(kind: StoreKind) -> None:
    package = "/".join(kind.module.split(".")[:3])
    naming = {
        str(path.relative_to(ROOT))
        for path in [*ROOT.glob("*.py"), *(path for one in MAY_IMPORT for path in sources(one))]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value == kind.name
    }
    elsewhere = {name for name in naming if not name.startswith(package)}
    assert elsewhere <= IN_ANOTHER_SENSE.get(kind.name, set())


@pytest.mark.parametrize("enrich", ENRICHERS)
def test_every_enricher_is_a_module_of_its_own(enrich: object) -> None:
    assert callable(enrich)
    module = import_module(enrich.__module__)
    assert module.__name__.startswith("flows.enrichment.")
    assert module.enrich is enrich


@pytest.mark.parametrize("name", ENRICHED)
def test_every_enricher_that_can_be_turned_on_is_a_module_of_its_name(name: str) -> None:
    assert callable(import_module(f"flows.enrichment.{name}").make)


def names_of(node: ast.stmt) -> Iterator[str]:
    """The names that a statement gives to a function or to values."""
    if isinstance(node, ast.FunctionDef):
        yield node.name
    elif isinstance(node, ast.Assign):
        yield from (name.id for name in node.targets if isinstance(name, ast.Name))


@pytest.mark.parametrize(
    ("folder", "modules"),
    [
        ("flows/parsing/formats", set(FORMATS.values())),
        ("flows/enrichment", {enrich.__module__ for enrich in ENRICHERS}),
        ("connectors/sinks", {kind.module for kind in STORES.values()}),
    ],
)
def test_no_module_is_left_out_of_its_table(folder: str, modules: set[str]) -> None:
    contract = {"FORMAT", "enrich", "open_store"}
    with_contract = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if contract & {*names_of(node)}
    }
    assert with_contract == modules


def test_the_main_job_fits_on_one_screen() -> None:
    assert len((ROOT / "flows" / "main.py").read_text(encoding="utf-8").splitlines()) <= 80


@cache
def texts() -> dict[str, str]:
    """Every text file of the project by its name, less what is made by running it."""
    found = {}
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in MADE and not MADE_END.search(name)]
        for path in (Path(folder, name) for name in files):
            if path.suffix in ENDINGS and path.name not in MADE:
                found[str(path.relative_to(ROOT))] = path.read_text(encoding="utf-8")
    return found


@pytest.mark.parametrize(
    "what",
    [
        # In two parts, so that this file does not name them either.
        r"(?:files\.)?python" + r"hosted\.org",
        r"\bpypi" + r"\.org",
        r"registry\." + r"npmjs",
        r"proxy\.golang" + r"\.org",
        r"deb\." + r"debian\.org",
        r"archive\.ubuntu" + r"\.com",
        r"(?<![\w.*-])/ro" + r"ot/",
        r"(?<![\w.*-])/ho" + r"me/",
        r"(?<![\w.*-])/wo" + r"rk/",
        r"(?<![\w.*-])/Us" + r"ers/",
    ],
)
def test_no_file_names_a_registry_or_a_place_on_a_machine(what: str) -> None:
    pattern = re.compile(what)
    found = [
        f"{name}: {hit.group()}" for name, text in texts().items() for hit in pattern.finditer(text)
    ]
    assert found == []


def test_the_texts_that_are_searched_are_those_of_the_project() -> None:
    names = {"README.md", "settings.py", "start.sh", ".env.local", "Dockerfile", ".ci/run"}
    assert names <= texts().keys()
