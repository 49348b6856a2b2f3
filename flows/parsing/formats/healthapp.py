"""Format `healthapp`: `20261122-20:15:05:123|component|pid|message`, by Loghub's set HealthApp."""

from __future__ import annotations

from flows.parsing.formats.app import texts
from flows.parsing.layout import Variants

FORMAT = Variants(
    texts(
        "not_healthapp",
        "{time}|{component}|{process}|{message}",
        time="%Y%m%d-%H:%M:%S:%f",
        samples=("20261122-20:15:05:123|Step_LSC|30002312|onStandStepChanged 3579",),
    )
)
