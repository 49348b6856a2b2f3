"""Debian's PostgreSQL (package `postgresql`) as a cluster of one's own, on a unix socket."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import suppress
from itertools import count
from pathlib import Path

_CONFIG = """\
listen_addresses = ''
unix_socket_directories = '{directory}'
max_connections = 100
shared_buffers = 64MB
fsync = {fsync}
log_min_messages = fatal
"""


class Postgres:
    """A cluster, from now until `close`; `stop` and `start` bring it down and back.

    `fsync=False`: a commit is not on disk, but survives every kill of a process.
    """

    def __init__(self, *, fsync: bool = False) -> None:
        self._user = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
        self.directory = Path(tempfile.mkdtemp(prefix="logwax-postgres-", dir="/tmp"))
        if self._user:
            found = pwd.getpwnam("postgres")
            os.chown(self.directory, found.pw_uid, found.pw_gid)
        self._numbers = count(1)
        self._data = self.directory / "data"
        self._run(
            "initdb",
            "--no-sync",
            "--auth=trust",
            "--username=logwax",
            "--encoding=UTF8",
            "--locale=C",
        )
        config = _CONFIG.format(directory=self.directory, fsync="on" if fsync else "off")
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(config)
        self.start()

    def url(self, database: str = "postgres") -> str:
        """Where a database is."""
        return f"postgresql://logwax@/{database}?host={self.directory}"

    def new_database(self) -> str:
        """The URL of an empty database."""
        import psycopg

        name = f"test{next(self._numbers)}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def start(self) -> None:
        """Return once it answers."""
        self._run("pg_ctl", "-w", "-l", str(self.directory / "log"), "start")

    def stop(self, *, mode: str = "immediate") -> None:
        """End it: `immediate` as a crash does, `fast` in order, breaking every connection."""
        self._run("pg_ctl", "-w", "-m", mode, "stop")

    def close(self) -> None:
        """End it, and remove its directory."""
        with suppress(subprocess.CalledProcessError):  # it is down already
            self.stop()
        shutil.rmtree(self.directory)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [_program(program), "-D", str(self._data), *arguments],
            check=True,
            cwd=self.directory,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self._user,  # type: ignore[call-overload]
        )


def _program(name: str) -> str:
    """Where a program is: Debian has those of servers not on the PATH."""
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(versions[-1]) if versions else "")
    assert found, f"{name} is missing: install the Debian package postgresql"
    return found
