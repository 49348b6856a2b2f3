"""`logwax try`: the first rows that a file would give, and what does not fit and why."""

from __future__ import annotations

import os
import sys
from collections import Counter
from dataclasses import replace

from cli.dead import as_letter
from cli.places import given
from cli.samples import batch_of, better, chosen, first_lines, settings_of
from connectors.encodings import Encoding
from connectors.errors import LogwaxError
from connectors.saying import say
from connectors.sinks.console.store import as_text
from connectors.sources.samples import lines_of
from flows.parsing import AUTO
from flows.settings import load

_SIZE = 1024 * 1024  # plain bytes of a file that are tried
_LOOKED_AT = 1000  # lines whose format is found out
_ROWS = 20
_LETTERS = 3  # of each reason


def run(path: str, *, form: str) -> int:
    """Print rows, misfits and counts; return the exit code: 0 if every line that was tried fits."""
    if form:
        os.environ["LOG_FORMAT"] = form
    try:
        return _run(path)
    except LogwaxError as error:
        say(str(error))
    except BrokenPipeError:  # whoever reads what is shown has seen enough
        raise
    except OSError as error:
        say(f"Cannot read {path!r}: {error.strerror}.")
    return 1


def _run(path: str) -> int:
    settings = load()
    if not given(settings, "log_format"):
        settings = settings.model_copy(update={"log_format": AUTO})
    settings = settings_of(path, settings)
    encoding = Encoding(settings.log_encoding)
    data = first_lines(path, encoding, _SIZE)
    lines = lines_of(data, encoding)[:_LOOKED_AT]
    if found := chosen(lines, settings):
        say(f"{found}.", level="info")
        settings = settings.model_copy(update={"log_format": found.best.name})
    from flows.steps import parse_and_enrich  # it takes its time

    batch = parse_and_enrich(settings)(batch_of(path, data, settings.log_format, settings))
    # On a terminal, the others are below, where they have room.
    rejected = batch.rejected.head(0 if sys.stdout.isatty() else _ROWS)
    shown = replace(batch, rows=batch.rows.head(_ROWS), rejected=rejected)
    for text in as_text(shown, sys.stdout.isatty()):
        print(text, end="")
    sys.stdout.flush()
    good, bad = len(batch.rows), len(batch.rejected)
    hint = better(lines, good, settings) if bad > good else ""
    say(f"{good:,} of {good + bad:,} lines fit {settings.log_format}{hint}.")
    for reason, count in Counter(batch.rejected["reason"].to_list()).most_common():
        say(f"{reason}: {count:,}")
        for letter in batch.rejected.filter(reason=reason).head(_LETTERS).to_dicts():
            say(as_letter(letter))
    return 1 if bad else 0
