"""`logwax test`: what the lines in files become, compared with what is expected of them.

Of a file `a.log` that is `a.log.rows.json` beside it: a list of rows and dead letters in the order
of the lines, without what is empty, and without their place.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from difflib import unified_diff
from pathlib import Path
from typing import Any

from cli.samples import batch_of, chosen, first_lines
from connectors.batch import Parsed
from connectors.encodings import Encoding
from connectors.errors import LogwaxError
from connectors.saying import say, shown
from connectors.sources.samples import lines_of
from flows.settings import load
from flows.steps import parse_and_enrich
from settings import Settings

EXPECTED = ".rows.json"
_PLACE = {"file_id", "offset", "line", "source"}
_MOST_BYTES = 64 * 1024 * 1024
_LOOKED_AT = 256 * 1024  # bytes whose format is found out

Process = Callable[[str, bytes], Parsed]


def run(directory: str, *, update: bool) -> int:
    """Print what differs; return the exit code: 0 if every file gives what is expected."""
    try:
        names = sorted(
            name
            for name in os.listdir(directory)
            if not name.endswith(EXPECTED) and os.path.isfile(os.path.join(directory, name))
        )
        if not names:
            raise LogwaxError(f"There is no file with lines in {directory!r}.")
        settings = load()
        process = _process(settings)
        wrong = [not _is_right(Path(directory, name), settings, process, update) for name in names]
    except LogwaxError as error:
        say(str(error))
        return 1
    except BrokenPipeError:  # whoever reads what is shown has seen enough
        raise
    except OSError as error:
        say(f"Cannot read {str(error.filename)!r}: {error.strerror}.")
        return 1
    print(f"{len(wrong) - sum(wrong)} of {len(wrong)} files give what is expected.")
    return 1 if any(wrong) else 0


def _process(settings: Settings) -> Process:
    encoding, steps = Encoding(settings.log_encoding), parse_and_enrich(settings)

    def process(name: str, data: bytes) -> Parsed:
        found = chosen(lines_of(data[:_LOOKED_AT], encoding), settings)
        form = found.best.name if found else settings.log_format
        return steps(batch_of(name, data, form, settings))

    return process


def _is_right(path: Path, settings: Settings, process: Process, update: bool) -> bool:
    """Whether a file gives what is expected; prints the difference, or writes what came."""
    data = first_lines(str(path), Encoding(settings.log_encoding), _MOST_BYTES)
    came = as_text(process(str(path), data))
    expected = Path(f"{path}{EXPECTED}")
    before = expected.read_text(encoding="utf-8") if expected.exists() else ""
    if came == before:
        return True
    if update:
        expected.write_text(came, encoding="utf-8")
        print(f"{shown(path)}: written.")
        return True
    if not before:
        print(f"{shown(path)}: nothing is expected of it yet; --update writes what came.")
        return False
    difference = unified_diff(
        before.splitlines(), came.splitlines(), f"{path}: expected", "came", lineterm=""
    )
    print("\n".join(map(shown, difference)))
    return False


def as_text(batch: Parsed) -> str:
    """Rows and dead letters as JSON, a field a line, and how many rows are dropped."""
    rows = [(row["offset"], _row(row)) for row in batch.rows.to_dicts()]
    letters = [(letter["offset"], _letter(letter)) for letter in batch.rejected.to_dicts()]
    found = [one for _, one in sorted([*rows, *letters], key=lambda pair: pair[0])]
    if batch.dropped:
        found.append({"dropped": dict(batch.dropped)})
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in row.items() if value and name not in _PLACE}
    time = kept["timestamp"].isoformat(timespec="microseconds").replace("+00:00", "Z")
    attributes = json.loads(kept.pop("attributes", "{}"))
    return {**kept, "timestamp": time, **({"attributes": attributes} if attributes else {})}


def _letter(letter: Mapping[str, Any]) -> dict[str, Any]:
    raw = letter["raw"].decode(errors="backslashreplace")
    return {"dead_letter": letter["reason"], "detail": letter["detail"], "raw": raw}
