"""Format `python`: what programs in Python write by `logging`: the logger and the level.

`%(asctime)s - %(name)s - %(levelname)s - %(message)s` of its documentation, "Logging HOWTO", and
what Alembic, Scrapy, Celery, Airflow, cloud-init, OpenStack (oslo.log), Odoo, Home Assistant, Salt,
Ansible and Django set in their places.
"""

from __future__ import annotations

from flows.parsing.colours import Coloured
from flows.parsing.formats.app import texts
from flows.parsing.layout import Variants

FORMAT = Coloured(
    Variants(
        (
            *texts(
                "not_python",
                "{time} - {logger} - {level:8} - {message}",
                "{time} [{level:8}] {logger}: {message}",
                "{time} {level:8} {logger}: {message}",
                "{time} {level:8} [{logger}] {message}",
                "{time} [{logger}] {level:8}: {message}",
                "{time} ({threadName}) [{logger}] {level:8} {message}",
                "{time} {level} ({threadName}) [{logger}] {message}",
                "{time} {logger:24}[{process}]: {level:7} {message}",
                "{time} - {logger} - {lineno} - {level} - {context} - {message}",
                "[{time}] {logger:30} {level:8}: {message}",
                "[{time}: {level}/{processName}] {message}",
                "[{time}] {{{filename}:{lineno}}} {level} - {message}",
                "{time} - {filename}[{level}]: {message}",
                "{time} {process} {level} {logger} [{context}] {message}",
                "{time} {process} {level} {database} {logger}: {message}",
                "{time} [{logger:17}:{lineno:4}][{level:8}][{process}] {message}",
                "{time} p={process} u={user} n={logger} {level}| {message}",
                "{level:8} {time} {module} {process} {thread} {message}",
                samples=(
                    "2026-11-22 20:15:05,123 - shop.orders - WARNING - disk 91% full: /dev/sda1",
                ),
            ),
            *texts(
                "not_python",
                "{time} {level} ({threadName}) [{logger}] {message}",
                time="%y-%m-%d %H:%M:%S",
            ),
            *texts(
                "not_python",
                "{level} {time} [{filename}:{lineno}] {message}",
                "{level} {time} {filename}:{lineno}] {message}",
                time="%m-%d %H:%M:%S",
            ),
        )
    )
)
