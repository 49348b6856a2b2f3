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
        # databases, queues, containers
        "redis",
        "postgresql",
        "mysql",
        "mysql_slow",
        "rabbitmq",
        "elasticsearch",
        "zap",
        "etcd",
        "klog",
        "mongod",
        # systems
        "auditd",
        "syslog5424",
        "android",
        "dpkg",
        "bgl",
        "hpc",
        "dmesg",
        "syslog",
    )
}
"""Value of `LOG_FORMAT` -> the module whose `FORMAT` describes it; a special one before others."""

_SYSLOG = ("program", "pid", "service", "facility", "version", "msgid", "structured_data")
OUTER: dict[str, tuple[str, ...]] = {
    "cri": ("stream", "tags"),
    "docker": ("stream", "attrs"),
    "syslog": _SYSLOG,
    "syslog5424": _SYSLOG,
}
"""Formats in whose `message` another one may be (`cri:json`) -> the attributes that they add."""
