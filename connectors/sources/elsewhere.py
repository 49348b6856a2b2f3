"""Names that no glob covers, under which a known file may be: beside those that the globs cover."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator

from connectors.sources.claims import Key
from connectors.sources.names import Names, Report, beside, hops
from connectors.sources.tailed_file import TailedFile


class Elsewhere:
    """Looks where missing files may be; what has not changed since is not looked at again."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._searched: dict[str, int] = {}
        self._seen: dict[Key, tuple[int, int]] = {}

    def search_all(self) -> None:
        """Another file is missing: look at everything again."""
        self._searched.clear()
        self._seen.clear()

    def look(
        self,
        missing: Iterable[TailedFile],
        links: Iterable[str],
        is_known: Callable[[Key], bool],
        report: Report,
    ) -> Iterator[tuple[str, os.stat_result]]:
        """Files that may be one of these.

        They are looked for in the directories where they were, and, since a link says nothing of a
        file that is rotated behind it, beside all that `links` lead to, on the way and in the end.
        """
        for directory in self._directories(missing, links):
            try:
                changed = os.stat(directory).st_ctime_ns  # new rights count, too
            except OSError:
                continue
            if self._searched.get(directory) == changed:
                continue
            self._searched[directory] = changed
            for path, found in beside([directory], report):
                key, state = (found.st_dev, found.st_ino), (found.st_size, found.st_ctime_ns)
                if is_known(key) or self._seen.get(key) == state or not found.st_size:
                    continue
                if not self._names.cover(path):
                    self._seen[key] = state
                    yield path, found

    def _directories(self, missing: Iterable[TailedFile], links: Iterable[str]) -> Collection[str]:
        places = {place for file in missing for place in (file.name, file.path, file.place)}
        places.update(hop for link in links for hop in (*hops(link), os.path.realpath(link)))
        return {os.path.dirname(place) for place in places if place}
