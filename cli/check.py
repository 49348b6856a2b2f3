"""`logwax check`: the effective settings, and every problem at once."""

from __future__ import annotations

import os

from dotenv import dotenv_values
from rich.console import Console
from rich.table import Table

from cli.samples import LOOKED_AT, how_they_fit, newest_files, newest_lines
from connectors import preflight
from connectors.encodings import Encoding
from connectors.errors import SettingsError
from connectors.sinks.console import printable
from settings import ENV_FILE, Settings, load


def run() -> int:
    """Print the table and the sentences; return the exit code: 1 if anything is wrong."""
    settings, wrong = _load_leniently()
    problems = [*wrong.values(), *preflight.problems(settings)]

    # Values are shown as they are: `[ab]*.log` is no markup, and a pipe has no width to wrap at.
    console = Console(markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = 1000
    console.print(_table(settings, wrong))
    for warning in preflight.warnings(settings):
        console.print(f"Warning: {warning}")
    if not wrong:
        _show_samples(console, settings)
    for problem in problems:
        console.print(f"Error: {problem}")
    if not problems:
        console.print("All is well.")
    return 1 if problems else 0


def _show_samples(console: Console, settings: Settings) -> None:
    """What the newest lines of the files that were written last are."""
    encoding = Encoding(settings.log_encoding)
    for path in newest_files(settings.patterns)[:LOOKED_AT]:
        shown = printable(path)
        try:
            lines = newest_lines(path, encoding)
        except OSError as error:
            console.print(f"Warning: {shown}: cannot read it: {error.strerror}.")
            continue
        if lines:
            text = how_they_fit(lines, settings)
            warning = "" if text.endswith(f"fit {settings.log_format}") else "Warning: "
            console.print(f"{warning}{shown}: {text}.")


def _load_leniently() -> tuple[Settings, dict[str, str]]:
    """The settings, with defaults where they are wrong, and the problem of each wrong name."""
    try:
        return load(), {}
    except SettingsError as error:
        wrong = {problem.partition("=")[0]: problem for problem in error.problems}
    fields = Settings.model_fields
    defaults = {
        name.lower(): fields[name.lower()].get_default(call_default_factory=True) for name in wrong
    }
    return Settings(**defaults), wrong


def _table(settings: Settings, wrong: dict[str, str]) -> Table:
    in_environment = {name.upper() for name, value in os.environ.items() if value}
    in_file = {name.upper() for name, value in dotenv_values(ENV_FILE).items() if value}
    table = Table("Setting", "Value", "From", box=None, pad_edge=False)
    for name, value in settings:
        variable = name.upper()
        if variable in wrong:
            origin = "default: what was given is wrong"
        elif variable in in_environment:
            origin = "environment"
        elif variable in in_file:
            origin = ENV_FILE
        else:
            origin = "default"
        table.add_row(variable, "" if value is None else str(value), origin)
    return table
