"""The shell scripts, up to where the programs take over, in a copy of the checkout.

Installing takes minutes and a network, so a stand-in for Python notes what it is started for.
tests/test_start.py is about the real thing.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

PROJECT = Path(__file__).parent.parent
COPIED = (
    "start.sh",
    "run_tests.sh",
    "cleanup.sh",
    ".ci/run",
    "scripts/python.sh",
    "scripts/servers.sh",
)
TOOLS = (
    "bash",
    "cat",
    "cksum",
    "cp",
    "dirname",
    "env",
    "find",
    "grep",
    "mkdir",
    "rm",
    "rmdir",
    "sleep",
    "true",
)

# It answers probes, makes a .venv of copies of itself, fails at what BROKEN names, and hangs at
# what SLOW names.
PYTHON = r"""#!/usr/bin/env bash
call="${{0##*/}} ${{*//$'\n'/ }}"
echo "$call" >>"$CALLS"
if [[ -n ${{BROKEN:-}} && $call == *"$BROKEN"* ]]; then exit 3; fi
if [[ -n ${{SLOW:-}} && $call == *"$SLOW"* ]]; then echo $$ >"$CALLS.slow" && exec sleep 300; fi
case "$*" in
    -c*) echo "{verdict}" ;;
    -V) echo "Python 3.11.9" ;;
    "-m venv"*) rm -rf .venv && mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    "-m pip install"*) cp "$0" .venv/bin/ruff && cp "$0" .venv/bin/mypy ;;
    "-m cli.wipe") rm -f data/* && echo data ;;
esac
"""
PROBES = (" -c ", " -V", " -m pip --version")

# It knows no package before its lists are updated; a package that is installed brings its program.
APT = r"""#!/usr/bin/env bash
words="$*"
echo "apt-get ${words#* --yes }" >>"$CALLS"
if [[ -n ${REFUSING:-} ]]; then echo "E: no" >&2 && exit 100; fi
if [[ $* == *update ]]; then : >"$CALLS.lists"; fi
if [[ ! -e $CALLS.lists ]]; then exit 100; fi
if [[ $* == *influxdb* ]]; then cp "$0" "${0%/*}/influxd"; fi
if [[ $* == *iproute2* ]]; then cp "$0" "${0%/*}/ip"; fi
"""
SUDO = r"""#!/usr/bin/env bash
if [[ $1 != -n || -n ${REFUSING:-} ]]; then echo "a password is required" >&2 && exit 1; fi
echo "sudo" >>"$CALLS"
exec "${@:2}"
"""
# It fails at what BROKEN names.
DOCKER = r"""#!/usr/bin/env bash
echo "docker $*" >>"$CALLS"
if [[ -n ${BROKEN:-} && $* == *"$BROKEN"* ]]; then exit 3; fi
"""
# It installs a Python, unless REFUSING, in a place that is not on the PATH.
UV = r"""#!/usr/bin/env bash
echo "uv $*" >>"$CALLS"
if [[ -n ${REFUSING:-} ]]; then echo "no network" >&2 && exit 2; fi
if [[ $* == "python find 3.12" ]]; then echo "${0%/*}/uv_python3.12"; fi
"""
SERVICES = r"""#!/usr/bin/env bash
echo "systemctl $*" >>"$CALLS"
"""


class Checkout:
    """A copy of the scripts, and a PATH that holds nothing but `TOOLS` and stand-ins."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "check out"  # people have spaces in their paths
        for name in COPIED:
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, self.path / name)
        self.write("pyproject.toml", "the project")
        self.write("constraints.txt", "the pins")
        self.write("setup.py", "how it is built")
        self.write("package-lock.json", "what the page is made with")
        self.write("native/native.h", "what is compiled")
        self._bin = directory / "bin"
        self._bin.mkdir()
        self._calls = directory / "calls"
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found, f"{tool} is needed"
            (self._bin / tool).symlink_to(found)
        servers = "chromium influxd ip openssl redis-server systemd-analyze initdb cc clang"
        for server in servers.split():
            self.add_program(server, "")
        self.add_program("id", "#!/usr/bin/env bash\necho ${USER_ID:-0}")

    def write(self, name: str, text: str) -> None:
        (self.path / name).parent.mkdir(exist_ok=True)
        (self.path / name).write_text(text)

    def add_program(self, name: str, text: str) -> Path:
        path = self._bin / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def add_python(self, name: str, verdict: str = "ok 3.11.9") -> Path:
        return self.add_program(name, PYTHON.format(verdict=verdict))

    def remove_program(self, name: str) -> None:
        (self._bin / name).unlink()

    def run(
        self, script: str, *arguments: str, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        process = self.start(script, *arguments, **variables)
        output, errors = process.communicate(timeout=60)
        return subprocess.CompletedProcess(arguments, process.returncode, output, errors)

    def start(self, script: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        self._calls.write_text("")
        return subprocess.Popen(
            [self.path / script, *arguments],
            cwd=self.path.parent,
            env={"PATH": str(self._bin), "CALLS": str(self._calls)} | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def slow_process(self) -> psutil.Process:
        """The stand-in that hangs, once it does."""
        note = self._calls.with_name("calls.slow")
        deadline = time.monotonic() + 30
        while not (note.exists() and note.read_text()):
            assert time.monotonic() < deadline, "nothing hangs"
            time.sleep(0.02)
        return psutil.Process(int(note.read_text()))

    @property
    def calls(self) -> list[str]:
        """What the stand-ins were started for in the last run, probes aside."""
        lines = self._calls.read_text().splitlines()
        return [line.strip() for line in lines if not any(probe in line for probe in PROBES)]

    @property
    def installs(self) -> list[str]:
        return [call for call in self.calls if "pip install" in call]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.fixture
def started(checkout: Checkout) -> Checkout:
    """A checkout that was started once."""
    checkout.add_python("python3")
    assert checkout.run("start.sh").returncode == 0
    return checkout


# --- a Python ----------------------------------------------------------------------------------


@pytest.mark.parametrize("script", ["start.sh", "run_tests.sh"])
def test_no_python_is_one_sentence(checkout: Checkout, script: str) -> None:
    result = checkout.run(script)
    assert result.returncode == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert "needs CPython 3.10, 3.11 or 3.12 (found: none)" in result.stderr


def test_wrong_pythons_are_named_in_one_sentence(checkout: Checkout) -> None:
    checkout.add_python("python3", "version 3.13.1")
    checkout.add_python("python", "version 2.7.18")
    result = checkout.run("start.sh")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "(found: python3 is 3.13.1, python is 2.7.18)" in result.stderr


def test_uv_installs_a_python_where_none_is_suitable(checkout: Checkout) -> None:
    checkout.add_python("python3", "version 3.13.1")
    checkout.add_python("uv_python3.12")
    checkout.add_program("uv", UV)
    assert checkout.run("start.sh").returncode == 0
    assert "uv python install --quiet 3.12" in checkout.calls
    assert "uv_python3.12 -m venv --clear .venv" in checkout.calls


def test_uv_that_cannot_install_one_leaves_the_sentence(checkout: Checkout) -> None:
    checkout.add_python("python3", "version 3.13.1")
    checkout.add_program("uv", UV)
    result = checkout.run("start.sh", REFUSING="yes")
    assert result.returncode == 1
    assert "(found: python3 is 3.13.1): install one" in result.stderr.splitlines()[-1]


def test_uv_is_not_asked_where_a_python_is_suitable_or_named(checkout: Checkout) -> None:
    checkout.add_python("python3")
    checkout.add_python("mine", "version 3.9.2")
    checkout.add_program("uv", UV)
    assert checkout.run("start.sh", PYTHON="mine").returncode == 1
    assert checkout.run("start.sh").returncode == 0
    assert not any(call.startswith("uv ") for call in checkout.calls)


def test_a_missing_venv_module_is_one_sentence(checkout: Checkout) -> None:
    checkout.add_python("python3", "venv 3.11.9")
    result = checkout.run("start.sh")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "venv module, which python3 lacks" in result.stderr


def test_a_wrong_python_is_passed_over(checkout: Checkout) -> None:
    checkout.add_python("python3.12", "venv 3.12.0")
    checkout.add_python("python3", "version 3.13.1")
    checkout.add_python("python")
    assert checkout.run("start.sh").returncode == 0
    assert "python -m venv --clear .venv" in checkout.calls


def test_the_newest_suitable_python_is_taken(checkout: Checkout) -> None:
    for name in ("python", "python3", "python3.10", "python3.12"):
        checkout.add_python(name)
    checkout.run("start.sh")
    assert "python3.12 -m venv --clear .venv" in checkout.calls


def test_a_named_python_is_taken(checkout: Checkout) -> None:
    checkout.add_python("python3.12")
    mine = checkout.add_python("mine")
    checkout.run("start.sh", PYTHON=str(mine))
    assert "mine -m venv --clear .venv" in checkout.calls


def test_a_named_python_that_is_wrong_is_not_replaced(checkout: Checkout) -> None:
    checkout.add_python("python3.12")
    checkout.add_python("mine", "version 3.9.2")
    result = checkout.run("start.sh", PYTHON="mine")
    assert result.returncode == 1
    assert "(found: mine is 3.9.2)" in result.stderr


# --- the packages ------------------------------------------------------------------------------


def test_the_first_start_installs_and_starts(started: Checkout) -> None:
    assert len(started.installs) == 1
    assert started.calls[-1] == "python -m cli up"


def test_the_next_start_installs_nothing(started: Checkout) -> None:
    started.run("start.sh")
    assert started.calls == ["python -m cli up"]


@pytest.mark.parametrize(
    "name",
    ["pyproject.toml", "constraints.txt", "setup.py", "package-lock.json", "native/native.h"],
)
def test_a_change_of_what_is_wanted_is_installed(started: Checkout, name: str) -> None:
    started.write(name, "changed")
    started.run("start.sh")
    assert len(started.installs) == 1


def test_an_install_that_fails_starts_nothing_and_is_done_again(checkout: Checkout) -> None:
    checkout.add_python("python3")
    failed = checkout.run("start.sh", BROKEN="pip install")
    assert failed.returncode == 1
    assert "Installing failed" in failed.stderr
    assert "python -m cli up" not in checkout.calls

    assert checkout.run("start.sh").returncode == 0
    assert len(checkout.installs) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_installing_leaves_nothing_running(
    checkout: Checkout, number: signal.Signals
) -> None:
    checkout.add_python("python3")
    script = checkout.start("start.sh", SLOW="pip install")
    installing = checkout.slow_process()
    script.send_signal(number)
    script.communicate(timeout=30)
    assert script.returncode == 143
    installing.wait(timeout=30)
    assert checkout.calls[-1] == checkout.installs[-1]


def test_a_change_that_fails_to_install_is_not_forgotten_when_undone(started: Checkout) -> None:
    started.write("constraints.txt", "changed")
    started.run("start.sh", BROKEN="pip install")
    started.write("constraints.txt", "the pins")
    started.run("start.sh")
    assert len(started.installs) == 1


def test_a_venv_whose_python_is_gone_is_made_anew(started: Checkout) -> None:
    python = started.path / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("gone")
    assert started.run("start.sh").returncode == 0
    assert "python3 -m venv --clear .venv" in started.calls
    assert len(started.installs) == 1


def test_running_the_tests_also_installs_what_a_start_needs(checkout: Checkout) -> None:
    checkout.add_python("python3")
    checkout.run("run_tests.sh")
    assert checkout.installs[0].endswith(".[dev]")
    checkout.run("start.sh")
    assert checkout.installs == []


def test_running_the_tests_after_a_start_installs_what_tests_need(started: Checkout) -> None:
    started.run("run_tests.sh")
    assert len(started.installs) == 1


# --- start.sh ----------------------------------------------------------------------------------


def test_fresh_is_passed_on(started: Checkout) -> None:
    started.run("start.sh", "--fresh")
    assert started.calls == ["python -m cli up --fresh"]


def test_help_is_no_start(checkout: Checkout) -> None:
    result = checkout.run("start.sh", "--help")
    assert result.returncode == 0
    assert result.stdout.startswith("usage: ./start.sh [--fresh | --docker]")


@pytest.mark.parametrize("arguments", [["--frsh"], ["--fresh", "now"], ["--docker", "now"], [""]])
def test_an_unknown_option_is_refused_before_anything_happens(
    checkout: Checkout, arguments: list[str]
) -> None:
    checkout.add_python("python3")
    result = checkout.run("start.sh", *arguments)
    assert result.returncode == 2
    assert result.stderr.startswith("usage: ./start.sh [--fresh | --docker]")
    assert checkout.calls == []


def test_docker_runs_compose_and_needs_no_python(checkout: Checkout) -> None:
    checkout.add_program("docker", DOCKER)
    assert checkout.run("start.sh", "--docker").returncode == 0
    assert checkout.calls[-1] == "docker compose up --build"
    assert checkout.installs == []


def test_the_exit_code_is_that_of_compose(checkout: Checkout) -> None:
    checkout.add_program("docker", DOCKER)
    assert checkout.run("start.sh", "--docker", BROKEN="compose up").returncode == 3


@pytest.mark.parametrize("broken", ["docker", "compose version"])
def test_docker_or_compose_that_is_missing_is_one_sentence(checkout: Checkout, broken: str) -> None:
    if broken != "docker":
        checkout.add_program("docker", DOCKER)
    result = checkout.run("start.sh", "--docker", BROKEN=broken)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert "needs Docker with Compose 2.12 or newer" in result.stderr
    assert "docker compose up --build" not in checkout.calls


def test_the_exit_code_is_that_of_the_supervisor(started: Checkout) -> None:
    assert started.run("start.sh", BROKEN="cli up").returncode == 3


# --- run_tests.sh ------------------------------------------------------------------------------


@pytest.mark.parametrize("script", ["run_tests.sh", ".ci/run"])
def test_lint_and_types_come_before_the_tests(started: Checkout, script: str) -> None:
    assert started.run(script).returncode == 0
    assert started.calls[1:] == [
        "ruff check .",
        "ruff format --check .",
        "mypy",
        "python -m pytest -n4 --dist worksteal",
    ]


def test_arguments_go_to_pytest(started: Checkout) -> None:
    started.run("run_tests.sh", "tests/test_x.py", "-k", "this or that")
    assert (
        started.calls[-1] == "python -m pytest -n4 --dist worksteal tests/test_x.py -k this or that"
    )


@pytest.mark.parametrize("broken", ["ruff check", "ruff format", "mypy", "pytest"])
def test_any_failure_is_a_failure_of_the_run(started: Checkout, broken: str) -> None:
    assert started.run("run_tests.sh", BROKEN=broken).returncode == 3


# --- the servers of the tests -------------------------------------------------------------------


@pytest.fixture
def bare(checkout: Checkout) -> Checkout:
    """A checkout on a machine that lacks two of the packages."""
    checkout.add_python("python3")
    checkout.remove_program("influxd")
    checkout.remove_program("ip")
    return checkout


def assert_advice(result: subprocess.CompletedProcess[str]) -> None:
    assert result.returncode == 1
    assert "need the Debian packages influxdb iproute2" in result.stderr.splitlines()[-1]
    assert result.stderr.endswith("apt-get install --yes influxdb iproute2\n")


def test_missing_servers_that_cannot_be_installed_are_named_before_anything_else(
    bare: Checkout,
) -> None:
    result = bare.run("run_tests.sh")
    assert_advice(result)
    assert len(result.stderr.splitlines()) == 1
    assert bare.calls == []


def test_missing_servers_are_named_at_once_to_a_user_who_may_not_install(bare: Checkout) -> None:
    bare.add_program("apt-get", APT)
    bare.add_program("sudo", SUDO)
    result = bare.run("run_tests.sh", USER_ID="1000", REFUSING="yes")
    assert_advice(result)
    assert len(result.stderr.splitlines()) == 1
    assert bare.calls == []


def test_missing_servers_are_named_when_installing_them_fails(bare: Checkout) -> None:
    bare.add_program("apt-get", APT)
    assert_advice(bare.run("run_tests.sh", REFUSING="yes"))
    assert not any("pytest" in call for call in bare.calls)


def test_missing_servers_are_installed_with_fresh_lists(bare: Checkout) -> None:
    bare.add_program("apt-get", APT)
    assert bare.run("run_tests.sh").returncode == 0
    install = "apt-get install influxdb iproute2"
    installing = [call for call in bare.calls if call.startswith("apt-get")]
    assert installing == [install, "apt-get update", install]
    assert bare.calls[-1] == "python -m pytest -n4 --dist worksteal"

    assert bare.run("run_tests.sh").returncode == 0
    assert not any("apt-get" in call for call in bare.calls)


IS_INSTALLING = re.compile("sudo|apt-get")  # while Python's packages are on their way


def test_a_user_installs_servers_by_sudo(bare: Checkout) -> None:
    bare.add_program("apt-get", APT)
    bare.add_program("sudo", SUDO)
    assert bare.run("run_tests.sh", USER_ID="1000").returncode == 0
    before_apt = [
        a for a, b in pairwise(filter(IS_INSTALLING.match, bare.calls)) if b.startswith("apt-get")
    ]
    assert before_apt == ["sudo"] * 3


def test_the_service_that_comes_with_the_package_is_stopped(bare: Checkout) -> None:
    bare.add_program("apt-get", APT)
    bare.add_program("systemctl", SERVICES)
    bare.run("run_tests.sh")
    assert "systemctl disable --quiet --now influxdb" in bare.calls


def test_a_service_that_was_there_before_is_left_alone(bare: Checkout) -> None:
    bare.add_program("influxd", "")
    bare.add_program("apt-get", APT)
    bare.add_program("systemctl", SERVICES)
    assert bare.run("run_tests.sh").returncode == 0
    assert not any("systemctl" in call for call in bare.calls)


# --- cleanup.sh --------------------------------------------------------------------------------


def test_cleanup_leaves_the_checkout_as_it_was(started: Checkout) -> None:
    def files() -> set[str]:
        found = (path.relative_to(started.path) for path in started.path.rglob("*"))
        return {str(path) for path in found if path.parts[0] != ".venv"}

    before = files()
    for made in ("data/rows", "cli/__pycache__/x.pyc", "logwax.egg-info/x", "native/compiled.so"):
        (started.path / made).parent.mkdir(parents=True, exist_ok=True)
        started.write(made, "")
    (started.path / "cli" / "own.py").touch()
    assert started.run("cleanup.sh").returncode == 0
    assert files() == before | {"cli", "cli/own.py"}
    assert not (started.path / ".venv").exists()


def test_cleanup_says_what_it_removes(started: Checkout) -> None:
    assert ".venv" in started.run("cleanup.sh").stdout


def test_cleanup_removes_nothing_if_the_data_cannot_go(started: Checkout) -> None:
    started.write("data/rows", "")
    assert started.run("cleanup.sh", BROKEN="cli.wipe").returncode == 3
    assert (started.path / "data" / "rows").exists()
    assert (started.path / ".venv").exists()


def test_cleanup_without_a_venv_leaves_the_data(checkout: Checkout) -> None:
    checkout.write("data/rows", "")
    result = checkout.run("cleanup.sh")
    assert result.returncode == 0
    assert "data" in result.stderr
    assert (checkout.path / "data" / "rows").exists()


# --- the pins ----------------------------------------------------------------------------------


def test_every_pin_is_exact() -> None:
    lines = (PROJECT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert pins
    assert [pin for pin in pins if "==" not in pin.split(";")[0]] == []


@pytest.mark.parametrize("script", ["start.sh", "run_tests.sh", "cleanup.sh", ".ci/run"])
def test_scripts_are_executable(script: str) -> None:
    assert os.access(PROJECT / script, os.X_OK)
