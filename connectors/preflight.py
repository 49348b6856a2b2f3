"""What would keep a pipeline from starting on this machine, found before anything starts."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path
from tempfile import TemporaryDirectory

import native
from connectors.errors import SettingsError
from connectors.saying import say
from connectors.sinks import STORES
from connectors.sinks.lock import holder
from connectors.sources.names import Names
from settings import Settings, hints

_SHOWN = 20

CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))


def problems(settings: Settings) -> list[str]:
    """One sentence for everything that is wrong around correct settings; empty when all is well."""
    kind = settings.store_kind
    busy = holder(settings.data_dir) if kind.is_exclusive else None
    found = [
        _instance_problem(settings) if kind.is_shared else None,
        _data_dir_problem(settings.data_dir, "claims" if kind.is_shared else ""),
        *kind.problems(settings),
        busy,
    ]
    if settings.api_url and not busy:  # else the holder has the port as well
        found.append(_port_problem(settings.api_host, settings.api_port))
    if settings.query_port:
        found.append(_query_port_problem(settings, busy is not None))
    return [problem for problem in found if problem]


def api_problems(settings: Settings) -> list[str]:
    """The same for `python -m api`: it needs a port, and a store that it can ask."""
    host, port, kind = settings.api_host, settings.api_port, settings.store_kind
    found: list[str | None] = []
    if not kind.is_shared:
        why = "its pipeline serves the API" if kind.keeps else "there is nothing to ask"
        others = " and ".join(
            f"STORE={name}" for name, other in sorted(STORES.items()) if other.is_shared
        )
        found.append(f"STORE={kind.name}: {why}; `python -m api` is for {others}.")
    found.append(_port_problem(host, port) if port else "API_PORT=0 serves none: choose a port.")
    return [problem for problem in found if problem]


def warnings(settings: Settings) -> list[str]:
    """One sentence for everything that is worth a look, but may well be meant."""
    return hints() + native.problems()


def unmatched(settings: Settings) -> list[str]:
    """One sentence for each pattern of files that matches none."""
    then = "yet; files are read as soon as they appear" if settings.follow else "and is skipped"
    return [
        f"{pattern if settings.log_paths else settings.log_file_path} matches no file {then}."
        for pattern in settings.patterns
        if not Names([pattern]).expand()
    ]


def unreadable(settings: Settings) -> list[str]:
    """One sentence for every covered file and directory that cannot be read: others can be."""
    found: dict[str, str] = {}

    def report(error: OSError) -> None:
        found[str(error.filename)] = error.strerror or str(error)

    for path in sorted(Names(settings.patterns).expand(report)):
        try:
            if stat.S_ISREG(os.stat(path).st_mode):
                os.close(os.open(path, os.O_RDONLY))
        except FileNotFoundError:  # which files may well be
            continue
        except OSError as error:
            report(error)
    sentences = [f"cannot read {path!r}: {why}." for path, why in found.items()]
    more = len(sentences) - _SHOWN
    return [*sentences[:_SHOWN], *([f"and {more} more."] if more > 0 else [])]


def _instance_problem(settings: Settings) -> str | None:
    if "instance" in settings.model_fields_set or not any(map(Path.exists, CONTAINER_MARKS)):
        return None
    return (
        "INSTANCE is not set, and this is a container, whose identity changes: "
        "give it a name that stays, or a new container would store all files again."
    )


def _data_dir_problem(data_dir: Path, part: str) -> str | None:
    path = data_dir.absolute() / part
    while not os.path.exists(path) and path != path.parent:
        path = path.parent  # what is missing will be made in the nearest directory that is there
    try:
        TemporaryDirectory(dir=path).cleanup()  # asking for permission is not enough: /proc, root
    except OSError as error:
        return (
            f"DATA_DIR={data_dir}: cannot write in {path}: {error.strerror}; "
            "choose another directory, or give this user the right to write there."
        )
    return None


def _query_port_problem(settings: Settings, busy: bool) -> str | None:
    port = settings.query_port
    if not settings.store_kind.has_protocol:
        able = " or ".join(f"STORE={name}" for name, kind in STORES.items() if kind.has_protocol)
        return (
            f"QUERY_PORT={port}: it is for {able}, and STORE={settings.store} is not asked through "
            "Logwax; remove it."
        )
    if settings.api_url and port == settings.api_port:
        return f"QUERY_PORT={port}: that is API_PORT; choose another one."
    if not settings.follow or busy:
        return None
    return _port_problem(settings.api_host, port, "QUERY_PORT")


def _port_problem(host: str, port: int, setting: str = "API_PORT") -> str | None:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        socket.create_server((str(address[0]), port), family=family).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return (
                f"{setting}={port}: port {port} of {host} is in use; "
                "stop what listens there, or choose another port (0: none)."
            )
        return f"API_HOST={host}, {setting}={port}: cannot listen there: {error.strerror}."
    return None


def refuse_problems(settings: Settings) -> None:
    """Print the warnings to stderr; raise `SettingsError` with all problems, if there are any."""
    for warning in warnings(settings):
        say(warning)
    if found := problems(settings):
        raise SettingsError(found)
