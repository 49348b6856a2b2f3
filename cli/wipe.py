"""Deletes everything in DATA_DIR: `logwax up --fresh`, and `python -m cli.wipe` for cleanup.sh."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from cli.places import DEMO, RUN
from connectors.errors import LogwaxError
from connectors.saying import last_words, say
from connectors.sinks.lock import LOCK, holder
from flows.settings import load

MADE_BY_PIPELINES = {"claims", "archive_ends", LOCK, RUN}
MADE_BY_THE_DEMO = {"logs", DEMO.name}


def wipe(data_dir: Path) -> None:
    """Delete everything in `data_dir`; the directory itself stays, it may be a mount or a link.

    Raises `LogwaxError` if a pipeline uses it, or if it does not look like a data directory.
    """
    if not data_dir.exists():
        return
    if busy := holder(data_dir) or holder(data_dir / DEMO.name):
        raise LogwaxError(f"Nothing is deleted: {busy}")
    _refuse_unless_ours(data_dir)
    for path in data_dir.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _refuse_unless_ours(data_dir: Path) -> None:
    path = data_dir.resolve()
    if any(path in (place, *place.parents) for place in (Path.cwd(), Path.home())):
        raise LogwaxError(
            f"Nothing is deleted: DATA_DIR={data_dir} is or holds your home or this directory."
        )
    names = {entry.name for entry in path.iterdir()}
    if not (names & MADE_BY_PIPELINES or names <= MADE_BY_THE_DEMO):
        raise LogwaxError(
            f"Nothing is deleted: DATA_DIR={data_dir} does not look like data of Logwax."
        )


def main() -> int:
    """Wipe DATA_DIR and print its path; the exit code."""
    try:
        data_dir = load().data_dir
        wipe(data_dir)
    except (LogwaxError, OSError) as error:
        say(last_words(error))
        return 1
    print(data_dir)
    return 0


if __name__ == "__main__":
    sys.exit(main())
