"""Format `cbs`: the log of Windows' component servicing: `time, Info    CBS    message`.

CBS.log and dism.log, by Microsoft's article "Analyze the log file entries that SFC.exe generates".
"""

from __future__ import annotations

from flows.parsing.formats.app import texts
from flows.parsing.layout import Variants

FORMAT = Variants(
    texts(
        "not_cbs",
        "{time}, {level:21} {component:6} {message}",
        samples=("2026-11-22 20:15:05, Info                  CBS    Starting TrustedInstaller",),
    )
)
