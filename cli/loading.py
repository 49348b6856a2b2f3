"""A process that loads the pipeline's libraries while the command is still looking at the files.

It runs the pipeline once it is told its environment. To load one after the other takes half of the
time from a command to the first row (measured: 0.9 of 2.2 CPU seconds).
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress

# As `-m` does it, but for the directory that one is in: a checkout there is not what is installed.
_RUN_MODULE = """
import runpy, sys
del sys.path[0], sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
_LIBC = ctypes.CDLL(None)  # not loaded below, since little is safe between fork and exec
_PR_SET_PDEATHSIG = 1


class Loading:
    """It ends when it is told nothing: with the process that made it, too."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            running("cli.loading"),
            stdin=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=stop_with_parent if sys.platform == "linux" else None,
            text=True,
        )

    def run(self, environment: Mapping[str, str], *arguments: str) -> subprocess.Popen[str]:
        """Run a module with these arguments in it; it is the process that it was."""
        told = json.dumps([dict(environment), arguments])
        assert self.process.stdin
        with suppress(BrokenPipeError):  # it has ended, and its exit code says how
            self.process.stdin.write(f"{told}\n")
            self.process.stdin.close()
        return self.process


def running(*arguments: str) -> list[str]:
    """The command that runs a module with these arguments in it, as this process would find it."""
    return [sys.executable, "-c", _RUN_MODULE, *arguments]


def stop_with_parent() -> None:
    """Have this process asked to stop when the one that made it dies, however that happens."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _main() -> None:
    gc.disable()  # of what is imported, nothing is garbage: 7 % of the time
    for module in ("api.app", "api.server", "flows.main", "flows.choosing"):
        importlib.import_module(module)
    gc.enable()
    told = sys.stdin.readline()
    if not told:
        return
    environment, sys.argv = json.loads(told)
    os.environ.clear()
    os.environ.update(environment)
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
