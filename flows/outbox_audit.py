"""The proof that every delivered event is stored once: `python -m flows.outbox_audit`.

It asks what the outbox still has: events that were cleaned up are not looked at. Exits 1 if an
event is missing or there twice.
"""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from connectors.accounts import Accounts
from connectors.errors import LogwaxError, StoreError
from connectors.saying import prepare, say
from connectors.store import open_store
from flows.outbox import for_events, open_outbox
from flows.settings import load
from logwax_capture.outbox.table import Outbox, OutboxError

_STEP = 100_000  # events that are looked at together
_NAMED = 10  # events of a kind


@dataclass(frozen=True)
class Audited:
    """How many delivered events there are, and the first of those that are not stored once."""

    delivered: int
    missing: tuple[int, ...]
    double: tuple[int, ...]

    @property
    def sentence(self) -> str:
        """What operators read."""
        found = [f"{self.delivered} delivered events."]
        for ids, what in ((self.missing, "not stored"), (self.double, "stored more than once")):
            if ids:
                found.append(f"Events {', '.join(map(str, ids))} are {what}.")
        return " ".join(found if len(found) > 1 else [*found, "Each is stored once."])


def audit(outbox: Outbox, accounts: Accounts) -> Audited:
    """Compare what is delivered with what is stored."""
    delivered, last = 0, 0
    missing: list[int] = []
    double: list[int] = []
    while ids := outbox.ids_delivered(last, _STEP):
        places, _ = accounts.places(outbox.name, ids[0], ids[-1] + 1)
        found, counts = np.unique(places.astype(np.int64), return_counts=True)
        missing += np.setdiff1d(ids, found)[:_NAMED].tolist()
        double += np.intersect1d(ids, found[counts > 1])[:_NAMED].tolist()
        delivered, last = delivered + len(ids), ids[-1]
    return Audited(delivered, tuple(missing[:_NAMED]), tuple(double[:_NAMED]))


def main() -> int:
    """Audit the outbox of the settings."""
    prepare()
    try:
        settings = load()
        with (
            closing(open_outbox(settings)) as outbox,
            closing(open_store(for_events(settings))) as store,
        ):
            accounts = store.accounts()
            if not accounts:
                raise StoreError(f"STORE={settings.store} cannot say which events it has.")
            found = audit(outbox, accounts)
    except (LogwaxError, OutboxError) as error:
        say(str(error))
        return 1
    say(found.sentence, on_stdout=True)
    return 1 if found.missing or found.double else 0


if __name__ == "__main__":
    sys.exit(main())
