"""`docker-compose.yml` and its image, as far as they can be proved without a container engine.

The file is held against the Compose specification and against the code. Then its services run as
plain processes: their commands, environment, start order and health checks are those of the file,
on servers of the test's own, with container paths in a temporary directory and service names on
loopback.
"""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from settings import Settings
from tests.conftest import DEADLINE, ROOT, find_port, wait_for
from tests.servers.clickhouse_http import Server
from tests.servers.influxd import Influxd

PASSWORD = "s3cret"
FROM_IMAGES = {
    "clickhouse": {"CLICKHOUSE_USER", "CLICKHOUSE_PASSWORD"},
    "influxdb": {
        "INFLUXDB_DB",
        "INFLUXDB_ADMIN_USER",
        "INFLUXDB_ADMIN_PASSWORD",
        "INFLUXDB_HTTP_AUTH_ENABLED",
        "INFLUXDB_DATA_INDEX_VERSION",
        "INFLUXDB_REPORTING_DISABLED",
    },
}
OF_BYTEWAX = {"BYTEWAX_WORKERS_PER_PROCESS"}
OF_PYTHON = {"PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def interpolated(text: str) -> str:
    """As Compose does it where LOGWAX_PASSWORD is set."""
    return re.sub(r"\$\{LOGWAX_PASSWORD:-\w+\}", PASSWORD, text)


COMPOSE: dict[str, Any] = yaml.safe_load(interpolated(read("docker-compose.yml")))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service["image"] == "logwax"]
IMAGE = read("Dockerfile").replace("\\\n", " ")
IMAGE_ENVIRONMENT = dict(
    pair.split("=", 1)
    for line in re.findall(r"^ENV (.+)$", IMAGE.rpartition("\nFROM ")[2], re.MULTILINE)
    for pair in line.split()
)
LEFT_OUT = re.findall(r"pip uninstall --yes ([\w -]+)$", IMAGE, re.MULTILINE)[0].split()


def environment_of(name: str) -> dict[str, str]:
    return IMAGE_ENVIRONMENT | SERVICES[name]["environment"]


def enabled(*profiles: str) -> list[str]:
    """The services of these profiles, each after those that it waits for."""
    wanted = [
        name
        for name, service in SERVICES.items()
        if not service.get("profiles") or set(service["profiles"]) & set(profiles)
    ]
    ordered: list[str] = []
    while len(ordered) < len(wanted):
        ready = [n for n in wanted if set(SERVICES[n].get("depends_on", ())) <= set(ordered)]
        assert set(ready) - set(ordered), f"of {wanted}, only {ordered} can start"
        ordered += [name for name in ready if name not in ordered]
    return ordered


# --- what the files say ------------------------------------------------------------------------


def test_the_file_is_valid_by_the_compose_specification() -> None:
    check = "-m check_jsonschema --builtin-schema vendor.compose-spec docker-compose.yml"
    checked = subprocess.run(
        [sys.executable, *check.split()], cwd=ROOT, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout


def test_up_alone_runs_everything_on_clickhouse() -> None:
    assert re.findall(r"^[^#].*", read(".env"), re.MULTILINE) == ["COMPOSE_PROFILES=clickhouse"]
    assert set(enabled("clickhouse")) == {"log_generator", "log_processor", "api", "clickhouse"}


def test_the_profile_influxdb_runs_everything_on_influxdb() -> None:
    assert set(enabled("influxdb")) == {
        "log_generator",
        "log_processor_influxdb",
        "api_influxdb",
        "influxdb",
    }


@pytest.mark.parametrize("name", OURS)
def test_what_needs_a_store_starts_when_that_store_is_healthy(name: str) -> None:
    stores = SERVICES[name].get("profiles", [])  # a profile has its store's name
    waits_for = {store: {"condition": "service_healthy"} for store in stores}
    assert SERVICES[name].get("depends_on", {}) == waits_for


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_rights_that_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(int(part) > 0 for part in service["user"].split(":"))
    assert not {"privileged", "cap_add", "network_mode", "pid"} & service.keys()


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_limits_and_a_health_check(name: str) -> None:
    assert {"mem_limit", "cpus", "healthcheck", "restart"} <= SERVICES[name].keys()


def test_ports_are_published_to_this_machine_only_and_never_those_of_a_store() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert sorted(ports) == [f"127.0.0.1:{port}:{port}" for port in (8000, 8001, 8010, 8011)]
    for name in OURS:
        port = SERVICES[name]["environment"].get("API_PORT")
        assert SERVICES[name].get("ports", []) == ([f"127.0.0.1:{port}:{port}"] if port else [])


@pytest.mark.parametrize("name", [name for name in OURS if "ports" in SERVICES[name]])
def test_operations_tell_where_a_service_answers(name: str) -> None:
    (profile,), port = SERVICES[name]["profiles"], SERVICES[name]["environment"]["API_PORT"]
    assert f"\n| `{name}` | `{profile}` | {port} | " in read("docs/operations.md")


def test_images_are_pinned_to_a_release() -> None:
    bases = re.findall(r"^FROM (\S+)", IMAGE, re.MULTILINE)
    assert len(set(bases)) == 1, "what is built runs on what it was built on"
    images = [service["image"] for service in SERVICES.values() if "build" not in service]
    for image in (*bases, *images):
        assert re.fullmatch(r"\w+:\d+\.\d+\.\d+[\w.-]*", image)


@pytest.mark.parametrize("name", SERVICES)
def test_every_variable_is_known_to_who_reads_it(name: str) -> None:
    given = {*SERVICES[name]["environment"]}
    settings = {field.upper() for field in Settings.model_fields}
    if name in OURS:
        assert given | IMAGE_ENVIRONMENT.keys() <= settings | OF_BYTEWAX | OF_PYTHON
    else:
        assert given == FROM_IMAGES[name]


def test_a_processor_has_an_instance_and_four_workers() -> None:
    for name in ("log_processor", "log_processor_influxdb"):
        environment = SERVICES[name]["environment"]
        assert environment["BYTEWAX_WORKERS_PER_PROCESS"] == "4"
        assert environment["INSTANCE"]


def test_secrets_come_from_the_environment_and_are_in_no_image() -> None:
    text = yaml.safe_load(read("docker-compose.yml"))["services"]
    passwords = [line for line in json.dumps(text).split('"') if "PASSWORD:-" in line]
    assert len(passwords) == len(re.findall(PASSWORD, json.dumps(SERVICES))) == 10
    assert not re.search("PASSWORD|TOKEN|SECRET|_URL", IMAGE)


def test_volumes_are_mounted_where_the_image_keeps_its_files() -> None:
    mounted = [volume for service in SERVICES.values() for volume in service.get("volumes", ())]
    assert {volume.split(":")[0] for volume in mounted} == COMPOSE["volumes"].keys()
    places = {place.split(":")[1] for name in OURS for place in SERVICES[name].get("volumes", ())}
    logs = Path(IMAGE_ENVIRONMENT["LOG_FILE_PATH"]).parent
    assert places == {IMAGE_ENVIRONMENT["DATA_DIR"], str(logs)}
    for place in places:
        assert re.search(rf"install --directory --owner=logwax .*{place}\b", IMAGE)


def test_two_processors_share_nothing_but_the_logs() -> None:
    first, second = (set(SERVICES[f"log_processor{s}"]["volumes"]) for s in ("", "_influxdb"))
    assert first & second == {"logs:/var/log/logwax:ro"}


def test_the_image_is_made_of_what_the_project_consists_of() -> None:
    copied = {
        name
        for line in re.findall(r"^COPY (?!--from)(.+)$", IMAGE, re.MULTILINE)
        for name in line.split()[:-1]
    }
    assert [name for name in copied if not (ROOT / name).exists()] == []
    assert set(re.findall(r"^!(.+)$", read(".dockerignore"), re.MULTILINE)) == copied
    packages = re.search(r"^include = (\[.*\])$", read("pyproject.toml"), re.MULTILINE)
    assert packages
    found = {name.rstrip("*") for name in ast.literal_eval(packages.group(1))}
    assert found <= {Path(name).name for name in copied}


def test_the_image_has_no_embedded_store_and_does_not_default_to_it() -> None:
    pinned = set(re.findall(r"^([\w-]+)==", read("constraints.txt"), re.MULTILINE))
    assert set(LEFT_OUT) <= pinned
    assert IMAGE_ENVIRONMENT["STORE"] != "embedded"


# --- the services as plain processes -----------------------------------------------------------


def start_clickhouse(
    environment: dict[str, str], directory: Path
) -> tuple[int, Callable[[], None]]:
    user = f"{environment['CLICKHOUSE_USER']}:{environment['CLICKHOUSE_PASSWORD']}"
    server = Server(directory, user=user)
    return server.port, server.close


def start_influxdb(environment: dict[str, str], directory: Path) -> tuple[int, Callable[[], None]]:
    user = f"{environment['INFLUXDB_ADMIN_USER']}:{environment['INFLUXDB_ADMIN_PASSWORD']}"
    server = Influxd(directory, user=user)
    server.create(environment["INFLUXDB_DB"])
    return server.port, server.stop


START_STORE = {"clickhouse": start_clickhouse, "influxdb": start_influxdb}


class Containers:
    """The services of some profiles, each a process with `directory` as its world."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._addresses = {"0.0.0.0": "127.0.0.1"}
        self.ports = {name: find_port() for name in OURS if "API_PORT" in environment_of(name)}
        absent = directory / "left out of the image"
        absent.mkdir()
        for package in LEFT_OUT:
            name = package.replace("-", "_")
            (absent / f"{name}.py").write_text(f"raise ImportError('{package} is left out')")
        self._python_path = os.pathsep.join(map(str, (absent, ROOT)))
        self._stores = ExitStack()

    def start(self, name: str) -> None:
        """Start a service, and wait until it is healthy."""
        if name in START_STORE:
            directory = self._directory / "volumes" / name
            port, stop = START_STORE[name](SERVICES[name]["environment"], directory)
            self._stores.callback(stop)
            address = re.search(r"//([\w:]+)/", SERVICES[name]["healthcheck"]["test"][-1])
            assert address
            self._addresses[address.group(1)] = f"127.0.0.1:{port}"
        else:
            self._running[name] = self._process(name, SERVICES[name]["command"])
        wait_for(lambda: self.is_healthy(name), f"a healthy {name}", pause=0.25)

    def is_healthy(self, name: str) -> bool:
        """Whether its health check says so; stores' have a program of their image ask a URL."""
        kind, *command = SERVICES[name]["healthcheck"]["test"]
        assert kind == "CMD"
        if name in START_STORE:
            assert command[0] in ("curl", "wget")
            return httpx.get(
                self._local(command[-1], name), trust_env=False, verify=False
            ).is_success
        if (service := self._running.get(name)) and service.poll() is not None:
            raise AssertionError(f"{name} ended by itself: {self.output(name)}")
        return self._process(name, command, output=".health").wait(DEADLINE) == 0

    def counts(self, name: str, lines: int) -> bool:
        """Whether it says that so many requests are stored."""
        url = f"http://127.0.0.1:{self.ports[name]}/stats?from_date=1970-01-01"
        token = {"Authorization": f"Bearer {PASSWORD}"}
        answer = httpx.get(url, headers=token, timeout=DEADLINE, trust_env=False, verify=False)
        return bool(answer.json()["total_requests"] == lines)

    def stop(self, name: str) -> int:
        """SIGTERM, as the engine does it; returns the exit code."""
        process = self._running.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(DEADLINE)

    def strays(self) -> list[Path]:
        """What the services wrote where no volume is mounted."""
        outside = [path for name in OURS for path in (self._directory / name).rglob("*")]
        return [path for path in outside if path.is_file()]

    def close(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()
        self._stores.close()

    def output(self, name: str) -> str:
        return (self._directory / f"{name}.out").read_text()

    def path(self, name: str, container: str) -> Path:
        """Where a path of the container is here."""
        for volume in SERVICES[name].get("volumes", ()):
            source, place, *_ = volume.split(":")
            if container.startswith(place):
                return Path(container.replace(place, str(self._directory / "volumes" / source), 1))
        return self._directory / name / container.lstrip("/")

    def _process(
        self, name: str, command: list[str], output: str = ".out"
    ) -> subprocess.Popen[bytes]:
        environment = {
            variable: self._local(value, name) for variable, value in environment_of(name).items()
        }
        if name in self.ports:
            environment["API_PORT"] = str(self.ports[name])
        where = self.path(name, re.findall(r"^WORKDIR (\S+)$", IMAGE, re.MULTILINE)[-1])
        where.mkdir(parents=True, exist_ok=True)
        assert command[0] == "python"
        with (self._directory / f"{name}{output}").open("ab") as file:
            return subprocess.Popen(
                [sys.executable, *command[1:]],
                cwd=where,
                env=environment | {"PATH": os.environ["PATH"], "PYTHONPATH": self._python_path},
                stdout=file,
                stderr=file,
            )

    def _local(self, text: str, name: str) -> str:
        for address, here in self._addresses.items():
            text = text.replace(address, here)
        return str(self.path(name, text)) if text.startswith("/") else text


@pytest.fixture
def containers(tmp_path: Path) -> Iterator[Containers]:
    made = Containers(tmp_path)
    yield made
    made.close()


def test_every_store_of_the_profiles_gets_every_line_and_its_api_counts_it(
    containers: Containers,
) -> None:
    profiles = "clickhouse", "influxdb"
    for name in enabled(*profiles):
        containers.start(name)
    log = containers.path("log_generator", IMAGE_ENVIRONMENT["LOG_FILE_PATH"])
    wait_for(lambda: log.read_bytes().count(b"\n") >= 300, "300 lines")
    assert containers.stop("log_generator") == 0

    lines = log.read_bytes().count(b"\n")
    served = [name for name in reversed(enabled(*profiles)) if name in containers.ports]
    for name in served:
        wait_for(partial(containers.counts, name, lines), f"{lines} lines, by {name}")
    for name in served:
        assert containers.stop(name) == 0, containers.output(name)
    assert containers.strays() == [], "a root file system is read-only"


@pytest.mark.parametrize("name", OURS)
def test_a_service_that_does_not_run_is_not_healthy(containers: Containers, name: str) -> None:
    assert not containers.is_healthy(name)


@pytest.mark.parametrize("name", [name for name in OURS if "API_PORT" in environment_of(name)])
@pytest.mark.parametrize("status", [200, 503])
def test_a_service_is_as_healthy_as_it_says(containers: Containers, name: str, status: int) -> None:
    class Says(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()

    with HTTPServer(("127.0.0.1", containers.ports[name]), Says) as server:
        asked = threading.Thread(target=server.handle_request)
        asked.start()
        assert containers.is_healthy(name) == (status == 200)
        asked.join()


def test_a_generator_that_writes_no_more_is_not_healthy(containers: Containers) -> None:
    log = containers.path("log_generator", IMAGE_ENVIRONMENT["LOG_FILE_PATH"])
    log.parent.mkdir(parents=True)
    log.touch()
    assert containers.is_healthy("log_generator")
    os.utime(log, (0, 0))
    assert not containers.is_healthy("log_generator")
