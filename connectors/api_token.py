"""The secrets by which a pipeline knows that a command, or a question, comes from its own user."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from connectors.errors import LogwaxError

if TYPE_CHECKING:
    from settings import Settings

TOKEN = "api.token"
"""The file of what a process takes commands by, and answers questions."""

KEPT = "read.token"
"""The file of what only questions are answered by, the same at every start."""


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


def keep_token(data_dir: Path) -> str:
    """The kept token, readable by its user only; made if there is none. Raises `LogwaxError`.

    Of several processes that make it at a time, all get that of one.
    """
    path = data_dir / KEPT
    try:
        if not path.exists():
            data_dir.mkdir(parents=True, exist_ok=True)
            new = path.with_name(f"{KEPT}.{secrets.token_hex(4)}")
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(32))
            with suppress(FileExistsError):
                os.link(new, path)
            new.unlink()
        if path.stat().st_uid not in (os.geteuid(), 0):
            raise LogwaxError(
                f"{path} belongs to another user, who may know that token: remove that file, or "
                "set API_TOKEN."
            )
        if token := path.read_text(encoding="ascii").strip():
            return token
    except OSError as error:
        raise LogwaxError(
            f"Cannot keep a token in {path}: {error.strerror}; set API_TOKEN."
        ) from error
    except UnicodeDecodeError:
        pass
    raise LogwaxError(f"There is no token in {path}: remove that file, or set API_TOKEN.")


def token_for(settings: Settings) -> str:
    """What a process with these settings answers questions by; empty if it asks for nothing."""
    if chosen := settings.api_token.get_secret_value():
        return chosen
    try:
        return (settings.data_dir / KEPT).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
