"""The processes that `logwax up` runs, each a Python module."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from cli.loading import Loading, running, stop_with_parent
from connectors.errors import LogwaxError
from settings import read_env_file

STOP_SECONDS = 5.0  # a child that takes longer to stop is killed: it must be crash-safe anyway


class ChildFailed(LogwaxError):  # noqa: N818 - it tells what happened, like MalformedLine
    """A child did not end well; `exit_code` is what this process should exit with."""

    def __init__(self, sentence: str, exit_code: int = 1) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


class Child:
    """One running module, in a session of its own: Ctrl-C in a terminal does not reach it.

    On Linux it is also asked to stop when the process that started it dies, however that happens.
    `loading`: the process in which it is to run.
    """

    def __init__(self, name: str, *arguments: str, loading: Loading | None = None) -> None:
        self._name = name
        environment = _for_bytewax() | os.environ
        if loading:
            self._process = loading.run(environment, *arguments)
            return
        self._process = subprocess.Popen(
            running(*arguments),
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=stop_with_parent if sys.platform == "linux" else None,
            text=True,
        )

    def has_finished(self) -> bool:
        """Whether it ended with exit code 0. Raises `ChildFailed` if it ended otherwise."""
        exit_code = self._process.poll()
        if exit_code:
            how = f"exit code {exit_code}" if exit_code > 0 else f"signal {-exit_code}"
            raise ChildFailed(f"The {self._name} ended: {how}.", max(exit_code, 1))
        return exit_code == 0

    def stop(self) -> None:
        """Ask it to stop, if it still runs, and wait until it has.

        Raises `ChildFailed` if it fails on the way, or is so slow that it has to be killed.
        """
        if self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            exit_code = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise ChildFailed(
                f"The {self._name} did not stop within {STOP_SECONDS:.0f} s and was killed."
            ) from None
        if exit_code not in (0, -signal.SIGTERM):  # the signal: it was only just starting
            self.has_finished()


def _for_bytewax() -> dict[str, str]:
    """What `.env.local` holds for Bytewax, which itself reads nothing but the environment."""
    given, _ = read_env_file()
    return {name: value for name, value in given.items() if name.startswith("BYTEWAX_")}
