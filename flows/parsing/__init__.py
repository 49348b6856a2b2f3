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
    )
}
"""Value of `LOG_FORMAT` -> the module whose `FORMAT` describes it; a special one before others."""

OUTER: dict[str, tuple[str, ...]] = {"cri": ("stream", "tags"), "docker": ("stream", "attrs")}
"""Formats in whose `message` another one may be (`cri:json`) -> the attributes that they add."""
