"""`logwax.toml`: which files are read, each with its format, its zone and its labels."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from connectors.sources.names import Names, of_record

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RULES_FILE = "logwax.toml"


class FileRule(BaseModel):
    """One `[[files]]`: what is empty, the settings say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    paths: Annotated[tuple[str, ...], Field(min_length=1)]
    format: str = ""
    multiline: str = ""
    time_zone: str = ""
    labels: Mapping[str, str] = Field(default_factory=dict)


class Rules:
    """Which rule a file has: the first that covers it."""

    def __init__(self, rules: Sequence[FileRule] = ()) -> None:
        self.all = tuple(rules)
        self._names = [Names(rule.paths) for rule in rules]

    def of(self, name: str) -> FileRule | None:
        """That of the file with this name in the ledger; None: it has none."""
        path = of_record(name)
        covering = (
            rule for rule, names in zip(self.all, self._names, strict=True) if names.cover(path)
        )
        return next(covering, None)

    @property
    def patterns(self) -> str:
        """All of their globs, as `LOG_PATHS` has them."""
        paths = (path for rule in self.all for path in rule.paths)
        return ",".join(re.sub(r",(?![^\[]*\])", "[,]", path) for path in paths)


def read_rules() -> tuple[list[FileRule], list[str]]:
    """The rules of the working directory, and a sentence for everything that is wrong with them."""
    try:
        found = tomllib.loads(Path(RULES_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return [], []
    except OSError as error:
        return [], [f"{RULES_FILE} cannot be read: {error.strerror}."]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        return [], [f"{RULES_FILE} is no TOML: {error}."]
    problems = [
        f"{RULES_FILE}: {name} means nothing; it has [[files]] only."
        for name in found
        if name != "files"
    ]
    files = found.get("files", [])
    if not isinstance(files, list) or not files:
        return [], [*problems, f"{RULES_FILE} has no [[files]]."]
    rules = []
    for number, each in enumerate(files, 1):
        try:
            rules.append(FileRule.model_validate(each))
        except ValidationError as error:
            problems += [
                f"{RULES_FILE}, [[files]] {number}: {'.'.join(map(str, one['loc']))}: {one['msg']}."
                for one in error.errors()
            ]
    return rules, problems
