"""`logwax check`: the effective settings, and every problem at once."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from cli.samples import LOOKED_AT, how_they_fit, newest_files, newest_lines, settings_of
from connectors import preflight
from connectors.encodings import Encoding
from connectors.errors import SettingsError
from connectors.saying import shown
from flows.settings import load
from settings import ENV_FILE, Settings, from_file


def run() -> int:
    """Print the table and the sentences; return the exit code: 1 if anything is wrong."""
    settings, wrong = _load_leniently()
    problems = [*wrong, *preflight.problems(settings), *preflight.unreadable(settings)]

    # Values are shown as they are: `[ab]*.log` is no markup, and a pipe has no width to wrap at.
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = 1000
    console.print(_table(settings, wrong))
    for warning in [*preflight.warnings(settings), *preflight.unmatched(settings)]:
        console.print(f"Warning: {shown(warning)}")
    if not wrong:
        _show_samples(console, settings)
    for problem in problems:
        console.print(f"Error: {shown(problem)}")
    if not problems:
        console.print("All is well.")
    return 1 if problems else 0


def _show_samples(console: Console, settings: Settings) -> None:
    """What the newest lines of the files that were written last are."""
    encoding = Encoding(settings.log_encoding)
    for path in newest_files(settings.patterns)[:LOOKED_AT]:
        try:
            lines = newest_lines(path, encoding)
        except OSError as error:
            console.print(f"Warning: {shown(path)}: cannot read it: {error.strerror}.")
            continue
        if lines:
            text = how_they_fit(lines, settings_of(path, settings))
            warning = "Warning: " if ";" in text else ""
            console.print(f"{warning}{shown(path)}: {text}.")


def _load_leniently() -> tuple[Settings, tuple[str, ...]]:
    """The settings, with defaults where they are wrong, and what is wrong with them."""
    try:
        return load(), ()
    except SettingsError as error:
        problems = error.problems
    defaults = {
        name: field.get_default(call_default_factory=True)
        for name, field in Settings.model_fields.items()
        if _is_wrong(name, problems)
    }
    return Settings(**{**from_file(), **defaults}), problems


def _is_wrong(name: str, problems: Sequence[str]) -> bool:
    return any(problem.startswith(f"{name.upper()}=") for problem in problems)


def _table(settings: Settings, wrong: Sequence[str]) -> Table:
    in_environment = {name.upper() for name, value in os.environ.items() if value}
    in_file = from_file()
    table = Table("Setting", "Value", "From", box=None, pad_edge=False)
    for name, value in settings:
        variable = name.upper()
        if _is_wrong(name, wrong):
            origin = "default: what was given is wrong"
        elif variable in in_environment:
            origin = "environment"
        elif name in in_file:
            origin = ENV_FILE
        else:
            origin = "default"
        table.add_row(variable, "" if value is None else shown(value), origin)
    return table
