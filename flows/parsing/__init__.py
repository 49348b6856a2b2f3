"""From lines to columns. A new format is one file in `formats/` and one line in this table."""

from __future__ import annotations

FORMATS: dict[str, str] = {
    name: f"flows.parsing.formats.{name}"
    for name in (
        "api_requests",
        "docker",
        "json",
        "cri",
        # proxies, balancers, clouds
        "haproxy",
        "envoy",
        "alb",
        "elb",
        "nlb",
        "s3",
        "vpc_flow",
        "squid",
        "xferlog",
        # keys and values
        "cef",
        "leef",
        "caddy",
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
        "gunicorn",
        "hypercorn",
        "granian",
        "uvicorn",
        "uwsgi",
        "django",
        "werkzeug",
        "auditd",
        "syslog5424",
        "klog",
        "redis",
        "postgresql",
        "mysql",
        "mysql_slow",
        "mongod",
        "rabbitmq",
        "elasticsearch",
        "zap",
        "etcd",
        "android",
        "dmesg",
        "dpkg",
        "bgl",
        "hpc",
        "syslog",
    )
}
"""Value of `LOG_FORMAT` -> the module whose `FORMAT` describes it; a special one before others."""

ANY = "raw"
"""The format of lines that are of no other."""

AUTO = "auto"
"""Value of `LOG_FORMAT`: that of each file is found out."""

_SYSLOG = ("program", "pid", "service", "facility", "version", "msgid", "structured_data")
OUTER: dict[str, tuple[str, ...]] = {
    "cri": ("stream", "tags"),
    "docker": ("stream", "attrs"),
    "syslog": _SYSLOG,
    "syslog5424": _SYSLOG,
}
"""Formats in whose `message` another one may be (`cri:json`) -> the attributes that they add."""
