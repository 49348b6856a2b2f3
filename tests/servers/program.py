"""A server that is a program of its own, as Debian has it."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from pathlib import Path

from tests.conftest import wait_for


class Program(ABC):
    """A process that writes what it says to a file, and can be ended and begun again."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def stop(self, *, kill: bool = False) -> None:
        """End it by SIGTERM, or by SIGKILL; what it has acknowledged stays."""
        if self._process:
            if kill:
                self._process.kill()
            else:
                self._process.terminate()
            self._process.wait()
            self._process = None

    def _run(self, *command: str) -> None:
        """Return once it answers."""
        with self._log.open("ab") as output:
            process = self._process = subprocess.Popen(command, stdout=output, stderr=output)

        def answers() -> bool:
            assert process.poll() is None, f"{command[0]} ended by itself: {self._log.read_text()}"
            return self._answers()

        wait_for(answers, command[0])

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it does."""
