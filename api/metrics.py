"""What Prometheus reads: the state of a process at the moment it asks, kept nowhere else."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.core import CounterMetricFamily as Counter
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.core import Metric

from connectors.status import SourceStatus, Status


class Metrics(list[Metric]):
    """A Prometheus collector of values that are known already."""

    def collect(self) -> list[Metric]:
        """Called by Prometheus's encoders."""
        return self


def of_store(is_usable: bool) -> Metrics:
    """What is told without a pipeline."""
    return Metrics(
        [Gauge("logwax_store_usable", "1 if the store can be used now, else 0.", is_usable)]
    )


def of_pipeline(status: Status, reading: SourceStatus) -> Metrics:
    """What a pipeline tells; its store is usable while no error stands.

    The store is not asked: when it hangs, these figures are wanted most.
    """
    return Metrics(
        [
            *of_store(not status.last_error),
            Counter(
                "logwax_store_failures",
                "Requests to the store that failed, repetitions included.",
                status.failures,
            ),
            Counter("logwax_lines", "Lines read and stored, empty ones included.", status.lines),
            Counter("logwax_rows", "Of these, lines that became rows.", status.stored),
            Counter(
                "logwax_dead_letters", "Of these, lines that became dead letters.", status.dead
            ),
            _by_label(
                "logwax_dropped_lines",
                "Lines that are not stored, by the setting that says so.",
                "reason",
                status.dropped,
            ),
            _by_label(
                "logwax_misfits",
                "Values that do not fit their column, hence are in `attributes`.",
                "column",
                status.misfits,
            ),
            Counter(
                "logwax_filler_bytes",
                "NUL bytes before lines that were skipped, as in files with holes.",
                status.filler,
            ),
            Gauge("logwax_files", "Files followed.", reading.files),
            Gauge(
                "logwax_lag_bytes",
                "Bytes of whole lines in these files that are not stored yet.",
                reading.lag_bytes,
            ),
            Gauge(
                "logwax_lag_records",
                "Events of an outbox or of Redis that are not stored yet.",
                reading.lag_records,
            ),
            Gauge(
                "logwax_lag_seconds",
                "Seconds that the oldest of these has waited.",
                reading.lag_seconds,
            ),
            Gauge(
                "logwax_problems",
                "Entries of `problems` in `/health`.",
                len(status.problems) + len(reading.problems),
            ),
            Gauge(
                "logwax_demoted_tags",
                "Tags that have become fields, having too many values (InfluxDB).",
                len(status.demoted_tags),
            ),
            Counter(
                "logwax_answers_cached",
                "Answers of the API that were given again, for nothing had changed them.",
                status.answers.hits,
            ),
            Counter(
                "logwax_answers_made",
                "Answers that had to be made, for none was kept.",
                status.answers.misses,
            ),
        ]
    )


def _by_label(name: str, meaning: str, label: str, counts: Mapping[str, int]) -> Metric:
    counter = Counter(name, meaning, labels=[label])
    for value, count in counts.items():
        counter.add_metric([value], count)
    return counter
