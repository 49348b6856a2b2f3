"""The secret by which a pipeline knows that a command comes from its own user."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from connectors.errors import LogwaxError

TOKEN = "api.token"


def make_token(data_dir: Path) -> str:
    """Make the token of this process, readable by its user only. Raises `LogwaxError`.

    Those of processes that were killed go; this one must have the directory for itself.
    """
    token = secrets.token_urlsafe(32)
    path = data_dir / TOKEN
    new = path.with_name(f"{TOKEN}.{os.getpid()}")
    try:
        remove_token(data_dir)
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(token)
        new.replace(path)  # whole, or not at all
    except OSError as error:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        raise LogwaxError(f"Cannot write {path}: {error.strerror}") from error
    return token


def read_token(data_dir: Path) -> str:
    """The token of the running process. Raises `LogwaxError`."""
    path = data_dir / TOKEN
    try:
        return path.read_text(encoding="ascii")
    except OSError as error:
        raise LogwaxError(
            f"Cannot read {path}: {error.strerror}; commands in a running pipeline need the rights "
            "of its user."
        ) from error


def remove_token(data_dir: Path) -> None:
    """Remove the token of this process, and what those that were killed have left of theirs."""
    for path in data_dir.glob(f"{TOKEN}*"):
        path.unlink(missing_ok=True)
