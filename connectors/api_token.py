"""The secret by which a pipeline knows that a command comes from its own user."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from connectors.errors import LogwaxError

TOKEN = "api.token"


def make_token(data_dir: Path) -> str:
    """Make the token of this process, readable by its user only. Raises `LogwaxError`."""
    token = secrets.token_urlsafe(32)
    path = data_dir / TOKEN
    new = path.with_name(f"{TOKEN}.{os.getpid()}")
    try:
        new.unlink(missing_ok=True)
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(token)
        new.replace(path)  # that of a process that was killed
    except OSError as error:
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
    """Remove the token of this process, if it is there."""
    (data_dir / TOKEN).unlink(missing_ok=True)
