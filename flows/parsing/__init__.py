"""From lines to columns. A new format is one file in `formats/` and one line in this table."""

from __future__ import annotations

FORMATS: dict[str, str] = {
    name: f"flows.parsing.formats.{name}"
    for name in (
        "api_requests",
        "docker",
        "json",
        "cri",
        "haproxy",
        "logfmt",
        "combined",
        "common",
        "vhost_combined",
        "nginx",
        "combined_extra",
        "loguru",
        "structlog",
        "spring_boot",
        "monolog",
        "php",
        "ruby",
        "tomcat",
        "dotnet",
        "node",
        "cbs",
        "healthapp",
        "proxifier",
        "rust",
        "python",
        "log4j",
        "go",
        "app",
        "raw",
    )
}
"""Value of `LOG_FORMAT` -> the module whose `FORMAT` describes it; a special one before others."""

ANY = "raw"
"""The format of lines that are of no other."""

OUTER: dict[str, tuple[str, ...]] = {"cri": ("stream", "tags"), "docker": ("stream", "attrs")}
"""Formats in whose `message` another one may be (`cri:json`) -> the attributes that they add."""
