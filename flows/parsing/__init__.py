"""From lines to columns. A new format is one file in `formats/` and one line in this table."""

from __future__ import annotations

FORMATS: dict[str, str] = {
    name: f"flows.parsing.formats.{name}"
    for name in (
        # of one program each, with a shape of its own
        "api_requests",
        "docker",
        "json",
        "cri",
        "haproxy",
        "envoy",
        "alb",
        "elb",
        "nlb",
        "s3",
        "vpc_flow",
        "squid",
        "xferlog",
        "cef",
        "leef",
        "panos",
        "caddy",
        "winevent",
        "ltsv",
        "logfmt",
        # whose columns a line names
        "w3c",
        "zeek",
        "csv",
        "tsv",
        # web servers
        "combined",
        "common",
        "vhost_combined",
        "nginx",
        "traefik",
        "combined_extra",
        "nginx_error",
        "apache_error",
        "hypercorn",
        "gunicorn",
        "granian",
        "uvicorn",
        "uwsgi",
        "django",
        "werkzeug",
        "gin",
        # databases, queues, containers
        "klog",
        "redis",
        "postgresql",
        "postgresql_csv",
        "mysql",
        "mysql_slow",
        "rabbitmq",
        "elasticsearch",
        "zap",
        "etcd",
        # applications
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
        "mongod",
        # systems
        "auditd",
        "syslog5424",
        "android",
        "macos",
        "dpkg",
        "bgl",
        "hpc",
        "dmesg",
        "syslog",
        # any
        "app",
        "raw",
    )
}
"""Value of `LOG_FORMAT` -> the module whose `FORMAT` describes it; a special one before others."""

EVENTS = {"postgresql_csv": r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} "}
"""Formats of which a record may have several lines -> what `LOG_MULTILINE` is where nobody says."""

ANY = "raw"
"""The format of lines that are of no other."""

AUTO = "auto"
"""Value of `LOG_FORMAT`: that of each file is found out."""

_SYSLOG = ("program", "pid", "service", "facility", "version", "msgid", "structured_data")
OUTER: dict[str, tuple[str, ...]] = {
    "cri": ("stream", "tags"),
    "docker": ("stream", "attrs"),
    "raw": (),
    "syslog": _SYSLOG,
    "syslog5424": _SYSLOG,
}
"""Formats in whose `message` another one may be (`cri:json`) -> the attributes that they add."""
