"""`deploy/`: each file by the rules of the program that reads it, and by what Logwax has."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator

from api import metrics
from connectors.status import SourceStatus, Status
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
    if promtool := shutil.which("promtool"):
        checked = subprocess.run([promtool, "check", "rules", RULES_FILE], capture_output=True)
        assert checked.returncode == 0, checked.stderr


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


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd here")
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
