"""Format `klog`: `I1122 20:15:05.123456    1234 file.go:12] message`.

By the header that the sources of k8s.io/klog describe (klog.go, `formatHeader`), which is that of
Google's glog for C++ and Go, and of Abseil; since 0.6, glog for C++ writes a year. The letter is
the level; the thread, or process, and the place in the source are attributes.
"""

from __future__ import annotations

from flows.parsing.layout import SPACES, Field, Layout, Variants
from native.lines import Shape

_LEVELS = {"I": "info", "W": "warning", "E": "error", "F": "fatal"}


def _layout(time: str, *samples: str) -> Layout:
    # fmt: off
    parts = (
        Field("level", "level", width=1, words=_LEVELS), Field("time", "timestamp", time=time),
        SPACES, Field("thread", shape=Shape.DIGITS), " ", Field("caller"), "] ",
        Field("message", "message", Shape.WORDS, empty=()),
    )
    # fmt: on
    return Layout(parts, samples, "not_klog")


FORMAT = Variants(
    (
        _layout(
            "%m%d %H:%M:%S",
            "I1122 20:15:05.123456    1234 server.go:12] listening on :8080",
            "E1122 20:15:05.123456 1234567 a.cc:9] caf\u00e9]",
        ),
        _layout("%Y%m%d %H:%M:%S", "W20261122 20:15:05.123456  1234 server.cc:12] slow"),
    )
)
