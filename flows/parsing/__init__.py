"""From lines to columns. A new format is one module here and one line in this table."""

from __future__ import annotations

FORMATS: dict[str, str] = {
    "api_requests": "flows.parsing.api_requests",
    "json": "flows.parsing.json_lines",
    "logfmt": "flows.parsing.logfmt",
    "combined": "flows.parsing.combined",
}
"""Value of `LOG_FORMAT` -> the module whose `make(time_zone, duration_shift)` is its `Format`."""
