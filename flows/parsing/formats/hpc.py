"""Format `hpc`: `number node component state seconds flag message`, a cluster's events.

System 20 of the Los Alamos National Laboratory, by its "Operational Data to Support and Enable
Computer Science Research", and Loghub, which has it as HPC.
"""

from __future__ import annotations

from flows.parsing.layout import Field, Layout
from native.lines import Shape

FORMAT = Layout(
    (
        Field("number", shape=Shape.DIGITS),
        " ",
        Field("node", "host"),
        " ",
        Field("component"),
        " ",
        Field("state"),
        " ",
        Field("time", "timestamp", time="%s"),
        " ",
        Field("flag"),
        " ",
        Field("message", "message", Shape.WORDS, empty=()),
    ),
    samples=(
        "134681 node-246 unix.hw net.niff.up 1795378505 1 NIFF: node node-246 is up",
        "1 node-1 a b 1795378505 -1 caf\u00e9",
    ),
    reason="not_hpc",
)
