"""Where the demo and one's own files keep their data, and which of it a command means."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from connectors.errors import LogwaxError
from connectors.saying import say, shown
from connectors.sinks import STORES
from connectors.sinks.clickhouse import EMBEDDED
from connectors.sinks.lock import holder
from flows.settings import load
from settings import Settings

DEMO = Path("data/demo")
_EARLIER_DEMO = Path("data")  # where the demo was in earlier versions
_EARLIER_LOG = Path("data/logs/api_requests.log")
RUN = "run.json"  # what a directory was made for


def given(settings: Settings, name: str) -> bool:
    """Whether a setting was given at all, in the environment or in `.env.local`."""
    return name in settings.model_fields_set


def demo(settings: Settings) -> dict[str, str]:
    """Settings that keep the demo in a directory of its own; none if the settings say where."""
    if any(given(settings, name) for name in ("data_dir", "log_paths", "log_file_path")):
        return {}
    if EMBEDDED.is_there(_EARLIER_DEMO) and _EARLIER_LOG.exists():
        return {}
    demo = Path.cwd() / DEMO
    return {"DATA_DIR": str(demo), "LOG_FILE_PATH": str(demo / "logs" / _EARLIER_LOG.name)}


def of_files(patterns: Sequence[str]) -> Path:
    """The directory of this user for these files, whatever names their rotation has made today.

    The XDG base directories are at specifications.freedesktop.org.
    """
    stems = {os.path.abspath(pattern).rstrip("*") for pattern in patterns}
    roots = sorted(stem for stem in stems if not any(_is_rotated(stem, of) for of in stems))
    name = re.sub(r"[^\w.-]", "", os.path.basename(roots[0].rstrip("/")))[:40] or "logs"
    mark = hashlib.sha256("\0".join(roots).encode(errors="surrogateescape")).hexdigest()[:8]
    return _runs() / f"{name}-{mark}"


def _is_rotated(stem: str, of: str) -> bool:
    """Whether a name is another one with something behind it, as `access.log.1` is."""
    return stem != of and stem.startswith(of) and (of.endswith("/") or stem[len(of)] in ".-_")


def _runs() -> Path:
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if os.path.isabs(state) else Path.home() / ".local/state") / "logwax"


def remember(data_dir: Path, variables: Mapping[str, str]) -> None:
    """Keep what a directory was made for: commands find it there. Raises `OSError`."""
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = data_dir / f"{RUN}.{os.getpid()}"
    new.write_text(json.dumps(dict(variables), indent=2) + "\n", encoding="utf-8")
    new.replace(data_dir / RUN)


def recall(data_dir: Path) -> dict[str, str]:
    """What a directory was made for; empty if nobody said so."""
    try:
        return dict(json.loads((data_dir / RUN).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def settings_of_a_command() -> Settings:
    """The settings of a command: those of the directory that it means, as far as none are given.

    That is `DATA_DIR`, else the one where a pipeline runs, else the one that there is. Raises
    `LogwaxError` if there are several, and `./data` is none of them, and `SettingsError`.
    """
    settings = load()
    if not given(settings, "data_dir"):
        os.environ["DATA_DIR"] = str(_meant(settings.data_dir))
    for name, value in recall(Path(os.environ.get("DATA_DIR") or settings.data_dir)).items():
        if not os.environ.get(name):
            os.environ[name] = value
    return load()


def _meant(default: Path) -> Path:
    own = [path.parent for path in sorted(_runs().glob(f"*/{RUN}"))]
    there = [path for path in (default, DEMO, *own) if _has_a_store(path)]
    running = [path for path in there if holder(path)]
    choice = running or there or [default]
    if len(choice) > 1 and default not in choice:
        told = {path: recall(path).get("LOG_PATHS", "") for path in choice}
        names = "".join(
            f"\n  DATA_DIR={path}" + (f"  # {shown(of)}" if of else "") for path, of in told.items()
        )
        raise LogwaxError(f"There are several stores: put one in front of the command.{names}")
    meant = default if default in choice else choice[0]
    if meant != default or len(there) > 1:
        say(f"DATA_DIR={meant}")
    return meant


def _has_a_store(data_dir: Path) -> bool:
    made_for = STORES.get(recall(data_dir).get("STORE", ""))
    kinds = [made_for] if made_for else [kind for kind in STORES.values() if kind.kept_in]
    return any(kind.is_there(data_dir) for kind in kinds)


def pattern_of(path: str) -> str:
    """What `LOG_PATHS` holds for a path on a command line.

    A path that is there is no pattern, whatever characters it has. Of a directory, these are the
    files that are named like logs, if there are any, else all of them.
    """
    place = os.path.join(os.getcwd(), path)
    if os.path.isdir(place):
        inside = os.path.join(_literally(place), "*")
        named = inside + ".log*"
        return named if glob.glob(named) else inside
    if os.path.lexists(place) or not glob.has_magic(path):
        return _literally(place)
    return os.path.join(_literally(os.getcwd()), re.sub(r",(?![^\[]*\])", "[,]", path))


def _literally(path: str) -> str:
    """A pattern that only this path fits, though `LOG_PATHS` is split at commas and stripped."""
    return re.sub(r",|^\s|\s$", lambda found: f"[{found[0]}]", glob.escape(path))
