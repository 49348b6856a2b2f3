"""From lines to columns. A new format is one file in `formats/` and one line in this table."""

from __future__ import annotations

FORMATS: dict[str, str] = {
    name: f"flows.parsing.formats.{name}" for name in ("api_requests", "json", "logfmt", "combined")
}
"""Value of `LOG_FORMAT` -> the module whose `FORMAT` describes it."""
