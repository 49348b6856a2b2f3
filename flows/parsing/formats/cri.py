"""Format `cri`: what a container wrote, as Kubernetes' runtimes keep it.

`time stream tags message`, by the Kubernetes CRI logging design: a tag `P` says that the line goes
on in the next one; it is kept as `attributes.tags`; `LOG_MULTILINE` joins such lines.
"""

from __future__ import annotations

from flows.parsing.layout import Field, Layout
from native.lines import Shape

FORMAT = Layout(
    (
        Field("time", "timestamp"),
        " ",
        Field("stream", choices=("stdout", "stderr")),
        " ",
        Field("tags", usual="F"),
        " ",
        Field("message", "message", Shape.WORDS, empty=()),
    ),
    samples=(
        "2026-11-22T20:15:05.120456789+00:00 stdout F listening on :8080",
        '2026-11-22T20:15:05Z stderr P {"ts": "caf\u00e9',
    ),
    reason="not_cri",
)
