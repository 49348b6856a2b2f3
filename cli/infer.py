"""`logwax infer`: what files are, written down in `logwax.toml`, to be read and changed."""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from glob import escape

from cli.places import pattern_of
from cli.samples import newest_files
from connectors.encodings import Encoding
from connectors.errors import LogwaxError
from connectors.saying import say, shown
from connectors.sources.content import open_content
from connectors.sources.rules import RULES_FILE
from connectors.sources.samples import sample
from flows.choosing import Choices
from flows.parsing.ranking import Choice, choose
from flows.settings import load

# What rotation puts behind a name: numbers, days, and what compressed it.
_ROTATED = re.compile(r"(?:[.-]\d[\d.T_-]*)?(?:\.(?:gz|bz2|xz|zst))?$")

_BEGIN = """\
# Which files Logwax reads, and how: `logwax check` shows what counts, environment variables win.
# Beside paths, each [[files]] may have:
#   format     a name, as LOG_FORMAT has it; without one it is found out
#   multiline  as LOG_MULTILINE
#   time_zone  of times in the lines that carry none, such as "Europe/Berlin"
#   labels     { service = "shop" }: for all rows, in `attributes`, or in the column `host`
"""


@dataclass(frozen=True)
class _Found:
    choice: Choice
    preset: str


def run(paths: Sequence[str]) -> int:
    """Write the file; return the exit code: 1 if there is one, or nothing to say."""
    try:
        return _run(paths)
    except LogwaxError as error:
        say(str(error))
    except OSError as error:
        say(f"Cannot write {RULES_FILE}: {error.strerror}.")
    return 1


def _run(paths: Sequence[str]) -> int:
    if os.path.lexists(RULES_FILE):
        raise LogwaxError(f"{RULES_FILE} is there already: move it away.")
    settings = load()
    choices, encoding = Choices(settings), Encoding(settings.log_encoding)
    groups: dict[str, list[_Found]] = defaultdict(list)
    for path in newest_files([pattern_of(path) for path in paths]):
        try:
            with closing(open_content(path)) as content:
                lines = sample(content, 0, content.size() or 0, encoding)
        except OSError as error:
            say(f"Cannot read {shown(path)}: {error.strerror}.")
            continue
        if found := choose(lines, settings.log_timezone):
            preset = choices.events(found.best.name, lines) if found.has_events else ""
            groups[_ROTATED.sub("", path)].append(_Found(found, preset))
    if not groups:
        raise LogwaxError("No file there has lines.")
    with open(RULES_FILE, "x", encoding="utf-8") as file:
        file.write(_BEGIN)
        file.writelines(_entry(stem, found) for stem, found in sorted(groups.items()))
    print(
        f"{RULES_FILE} has {len(groups):,} [[files]]:"
        " read it, then `logwax check` and `logwax run`."
    )
    return 0


def _entry(stem: str, found: Sequence[_Found]) -> str:
    """One group of files, of which the newest counts."""
    newest = found[0]
    others = sorted({one.choice.best.name for one in found} - {newest.choice.best.name})
    entry = f"\n# {newest.choice}"
    entry += f"; older files: {', '.join(others)}" if others else ""
    entry += f"\n[[files]]\npaths = [{_text(escape(stem) + '*')}]\n"
    entry += f"format = {_text(newest.choice.best.name)}\n"
    return entry + (f"multiline = {_text(newest.preset)}\n" if newest.preset else "")


def _text(value: str) -> str:
    """A text as TOML has it."""
    return json.dumps(value, ensure_ascii=False)
