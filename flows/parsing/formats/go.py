"""Format `go`: the package log of Go: `2026/11/22 20:15:05 file.go:12: message`.

By its documentation, the flags LstdFlags, Lmicroseconds, Lshortfile and Llongfile; a level in front
of the message is not of the package, but of many programs.
"""

from __future__ import annotations

from flows.parsing.choice import Wrapped
from flows.parsing.colours import Coloured
from flows.parsing.formats.app import SLASHES, texts
from flows.parsing.layout import Variants
from flows.parsing.said import WithLevel

FORMAT = Wrapped(
    Coloured(
        Variants(
            texts(
                "not_go",
                "{time} {filename}.go:{lineno}: {message}",
                "{time} [{level:5}] {message}",
                "{time} {level:5}: {message}",
                "{time} {level:5} {message}",
                "{time} {message}",
                time=SLASHES,
                samples=("2026/11/22 20:15:05 orders.go:12: order 4711 stored",),
            )
        )
    ),
    WithLevel,
)
