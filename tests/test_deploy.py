"""`deploy/`: each file by the rules of the program that reads it, and by what Logwax has."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import promql_parser
import pytest
import yaml
from jsonschema import Draft202012Validator

from api import metrics
from connectors.accounts import FormattedAccounts, Question
from connectors.status import SourceStatus, Status
from connectors.store import open_store
from settings import Settings
from tests.conftest import ROOT

SETTINGS = {name.upper() for name in Settings.model_fields}
RULES_FILE = ROOT / "deploy/prometheus/logwax.rules.yml"
RULES = [
    rule for group in yaml.safe_load(RULES_FILE.read_text())["groups"] for rule in group["rules"]
]
UNIT = (ROOT / "deploy/systemd/logwax.service").read_text()
OBJECTS: dict[str, dict[str, Any]] = {
    made["kind"]: made
    for made in yaml.safe_load_all((ROOT / "deploy/kubernetes/daemonset.yaml").read_text())
}
GRAFANA = ROOT / "deploy/grafana"
BOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text()) for path in (GRAFANA / "dashboards").glob("*.json")
}

# https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/
_DURATION = {"type": "string", "pattern": "^([0-9]+(ms|[smhdwy]))+$"}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
RULES_SCHEMA = {
    "type": "object",
    "required": ["groups"],
    "additionalProperties": False,
    "properties": {
        "groups": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "rules"],
                "additionalProperties": False,
                "properties": {
                    "name": {"type": "string"},
                    "interval": _DURATION,
                    "rules": {
                        "type": "array",
                        "minItems": 1,
                        "items": {
                            "type": "object",
                            "required": ["alert", "expr", "labels", "annotations"],
                            "additionalProperties": False,
                            "properties": {
                                "alert": {"type": "string", "pattern": "^[A-Za-z]+$"},
                                "expr": {"type": "string"},
                                "for": _DURATION,
                                "labels": _TEXTS,
                                "annotations": _TEXTS,
                            },
                        },
                    },
                },
            },
        }
    },
}


def test_the_alerts_are_rules_as_prometheus_reads_them() -> None:
    Draft202012Validator(RULES_SCHEMA).validate(yaml.safe_load(RULES_FILE.read_text()))
    for rule in RULES:
        promql_parser.parse(rule["expr"])  # raises where Prometheus would refuse it


def test_an_alert_is_over_metrics_that_a_pipeline_has() -> None:
    status = Status()
    status.misfits["duration"] = 1
    told = metrics.of_pipeline(status, SourceStatus())
    known = {sample.name for metric in told for sample in metric.samples}
    used = {name for rule in RULES for name in re.findall(r"\blogwax_\w+", rule["expr"])}
    assert len(used) > 5
    assert used <= known


def test_each_alert_has_its_chapter_in_the_runbook_and_links_to_it() -> None:
    chapters = re.findall(r"^## (\w+)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE)
    assert [rule["alert"] for rule in RULES] == chapters
    for rule in RULES:
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"


def test_systemd_takes_the_unit_and_finds_that_it_may_do_little(tmp_path: Path) -> None:
    unit = tmp_path / "logwax.service"
    unit.write_text(re.sub("(?<=ExecStart=)[^ ]+", sys.executable, UNIT))  # one that is here
    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert (verified.returncode, verified.stderr) == (0, "")
    # the exposure, in tenths of 10
    rated = ["systemd-analyze", "security", "--offline=yes", "--threshold=20", unit]
    assert subprocess.run(rated, capture_output=True).returncode == 0


def test_the_unit_sets_what_there_is_to_set() -> None:
    (given,) = re.findall(r"^Environment=(.+)$", UNIT, re.MULTILINE)
    names = {pair.partition("=")[0] for pair in given.split()}
    assert names <= SETTINGS | {"PYTHONUNBUFFERED"}
    state = re.findall(r"^StateDirectory=(.+)$", UNIT, re.MULTILINE)
    assert f"DATA_DIR=/var/lib/{state[0]}" in given.split()


@pytest.mark.parametrize("kind", OBJECTS)
def test_kubernetes_takes_what_is_made_for_it(kind: str) -> None:
    kubernetes_validate.validate(OBJECTS[kind], kubernetes_validate.latest_version(), strict=True)


def test_the_daemonset_has_the_settings_mounts_and_rights_that_it_needs() -> None:
    spec = OBJECTS["DaemonSet"]["spec"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    given = {variable["name"]: variable for variable in container["env"]}
    assert given.keys() <= SETTINGS
    assert {"INSTANCE", "LOG_PATHS"} <= given.keys()
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert mounts.keys() == {volume["name"] for volume in pod["volumes"]}
    assert mounts["data"]["mountPath"] == given["DATA_DIR"]["value"]
    assert given["LOG_PATHS"]["value"].startswith(mounts["logs"]["mountPath"] + "/")
    assert mounts["logs"]["readOnly"] is True
    rights = container["securityContext"]
    assert rights["capabilities"] == {"drop": ["ALL"], "add": ["DAC_READ_SEARCH"]}
    assert rights["readOnlyRootFilesystem"] is True
    assert rights["allowPrivilegeEscalation"] is False


# What Grafana and its plugin put in the place of a variable and of a macro:
# https://clickhouse.com/docs/integrations/grafana/query-builder
MACROS = {
    r"\$__timeFilter\((\w+)\)": r"\1 >= toDateTime(1700000000) AND \1 <= toDateTime(1700003600)",
    r"\$__timeInterval\((\w+)\)": r"toStartOfInterval(toDateTime(\1), INTERVAL 60 second)",
    r"\$__interval_s": "60",
}


def asked_by_grafana(sql: str, customer: str) -> str:
    sql = sql.replace("${customer:sqlstring}", f"'{customer}'")
    for macro, meaning in MACROS.items():
        sql = re.sub(macro, meaning, sql)
    assert "$" not in sql
    return sql


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FormattedAccounts]:
    """An embedded store with a request that failed, a dead letter and their block."""
    store = open_store(Settings(_env_file=None, data_dir=tmp_path_factory.mktemp("data")))
    for statement in (
        """logs (timestamp, ingested_at, customer_id, endpoint, request_path, method, status_code,
            status_class, duration) VALUES (1700000060, 1700000061, 'cust_1', '/a', '/a', 'GET',
            503, '5xx', 0.5)""",
        """dead_letters (source, raw, reason, seen_at) VALUES
            ('/var/log/a.log', unhex('ff41'), 'not_json', 1700000062)""",
        """ingest_blocks (instance, kind, path, start, end, lines, recorded_at) VALUES
            ('host', 'block', '/var/log/a.log', 0, 600, 2, 1700000061)""",
    ):
        store._client.command(f"INSERT INTO {statement}")
    found = store.accounts()
    assert isinstance(found, FormattedAccounts)
    yield found
    store.close()


@pytest.mark.parametrize("name", BOARDS)
def test_every_question_of_a_dashboard_is_answered_by_a_store(
    name: str, accounts: FormattedAccounts
) -> None:
    for panel in BOARDS[name]["panels"]:
        (target,) = panel["targets"]
        for customer in ("", "cust_1"):
            sql = asked_by_grafana(target["rawSql"], customer)
            answer = json.loads(accounts.formatted(Question(sql, "JSON", "", {}, {})).data)
            assert answer["rows"] >= 1, panel["title"]
            if panel["type"] == "timeseries":
                assert answer["meta"][0] == {"name": "time", "type": "DateTime('UTC')"}
                assert answer["meta"][-1]["type"] != "String"
    if name == "requests":
        none = asked_by_grafana(BOARDS[name]["panels"][0]["targets"][0]["rawSql"], "cust_2")
        answer = json.loads(accounts.formatted(Question(none, "JSON", "", {}, {})).data)
        assert answer["rows"] == 0


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_asks_the_data_source_that_is_provisioned_and_its_panels_have_room(
    name: str,
) -> None:
    provisioned = yaml.safe_load((GRAFANA / "provisioning/datasources/logwax.yaml").read_text())
    (source,) = provisioned["datasources"]
    taken: set[tuple[int, int]] = set()
    for panel in BOARDS[name]["panels"]:
        for asks in (panel, *panel["targets"]):
            assert asks["datasource"] == {"type": source["type"], "uid": source["uid"]}
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells
    ids = [panel["id"] for panel in BOARDS[name]["panels"]]
    assert len(ids) == len(set(ids))
