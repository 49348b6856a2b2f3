"""Starts our own commands from a process that has their modules loaded: most of a start is that.

What is started is a process as any other: with the arguments, environment, directory and files that
it was given, a child of the tests. What is not one of `MODULES` starts as always, and everything
does in the long run (`--soak`).
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import runpy
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MODULES = ("api", "bytewax.run", "cli", "log_generator")
_LIBRARIES = (  # not ClickHouse's engine, whose threads are lost at a fork
    "backports.zstd",
    "bytewax.operators",
    "clickhouse_connect",
    "fastapi",
    "httpx",
    "lz4.frame",
    "msgspec.json",
    "numpy",
    "polars",
    "prometheus_client",
    "pyarrow",
    "pydantic_settings",
    "typer",
    "uvicorn.config",
    "watchdog.observers",
    "xxhash",
)
_OURS = (
    "api.app",
    "cli.main",
    "connectors.sinks.clickhouse.embedded",
    "connectors.sinks.influxdb.server",
    "flows.audit",
    "flows.backfill",
    "flows.main",
    "flows.redrive",
    "log_generator",
)
_READ_AT_THE_START = ("PYTHON", "LANG", "LC_", "LD_", "MALLOC_", "POLARS_")
_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
_MOST = 1 << 20  # bytes of a request

_loaded: socket.socket | None = None

REAL = subprocess.Popen
"""What starts everything as always."""


class _Popen(subprocess.Popen):  # type: ignore[type-arg]
    """As `subprocess.Popen`, but for the step that makes the process."""

    def _execute_child(self, args: Any, *others: Any) -> None:
        executable, preexec_fn, _, pass_fds, cwd, env, _, _, shell, *rest = others
        pipes, new_session = rest[:6], rest[11]
        files = [fd if fd != -1 else n for n, fd in enumerate((pipes[0], pipes[3], pipes[5]))]
        special = (executable, preexec_fn, pass_fds, shell, new_session, *map(os.isatty, files))
        if any(special) or not _is_ours(args, env):
            super()._execute_child(args, *others)  # type: ignore[misc]
            return
        request = [[*map(os.fspath, args[2:])], os.path.abspath(cwd or "."), dict(env)]
        self.pid = _ask(json.dumps(request).encode(), files)
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]


def use() -> None:
    """From now on in this process."""
    subprocess.Popen = _Popen  # type: ignore[misc]


def _is_ours(args: object, env: Mapping[str, str] | None) -> bool:
    return (
        isinstance(args, list | tuple)
        and [*args[:2]] == [sys.executable, "-m"]
        and args[2] in MODULES
        and env is not None
        and env.get("PYTHONPATH") == str(ROOT)
        and {name for name in env if name.startswith(_READ_AT_THE_START)} == {"PYTHONPATH"}
    )


def _ask(request: bytes, files: Sequence[int]) -> int:
    """Have a process made; returns its id. Its parent ends, so it becomes a child of ours."""
    global _loaded
    if _loaded is None:
        _loaded, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
            kept["POLARS_MAX_THREADS"] = "1"  # which is read when it is loaded
            subprocess.Popen([sys.executable, __file__], stdin=theirs.fileno(), env=kept)
    system = ctypes.CDLL(None)
    system.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        socket.send_fds(_loaded, [request], files)
        return int(_loaded.recv(100))
    finally:  # orphans of what is tested are nobody's
        system.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _fork(asked: socket.socket) -> bytes:
    """Make processes until there are no more requests; returns in each of them, with its own."""
    while True:
        request, files, _, _ = socket.recv_fds(asked, _MOST, 3)
        if not request:
            sys.exit()
        told, tell = os.pipe()
        if not (parent := os.fork()):
            if child := os.fork():
                os.write(tell, str(child).encode())
                os._exit(0)
            for number, fd in enumerate(files):
                os.dup2(fd, number)
            os.closerange(3, os.sysconf("SC_OPEN_MAX"))
            return request
        os.waitpid(parent, 0)
        asked.send(os.read(told, 100))
        for fd in (*files, told, tell):
            os.close(fd)


def _main() -> None:
    sys.path[0] = str(ROOT)
    for name in (*_LIBRARIES, *_OURS):
        importlib.import_module(name)
    asked = socket.socket(fileno=os.dup(0))
    arguments, directory, environment = json.loads(_fork(asked))
    asked.detach()
    for name, fd, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        errors, buffering = getattr(sys, name).errors, 1 if fd == 2 else -1
        stream = open(fd, mode, buffering, errors=errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv = arguments
    sys.path[0] = directory
    sys.path.insert(1, str(ROOT))
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
