"""Lines of every format with faults at random: who reads them all reads them alike.

The seed is printed; `--soak` has another one each time, and 1,000,000 lines of each format.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from random import Random, randrange
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from connectors.batch import Parsed, with_nulls
from connectors.encodings import UTF_8
from connectors.sources.records import Piece
from connectors.sources.sense import is_directive
from flows.parsing import FORMATS
from flows.parsing.choice import described
from flows.steps import framing, parse_step
from settings import Settings
from tests.layouts import ALL
from tests.mutating import Mutator, rests_of, samples_of
from tests.parsing_checks import agreed, filled, piece, together

SEVERAL = [
    *("cri:json", "cri:combined", "cri:logfmt", "cri:raw", "docker:json", "docker:api_requests"),
    *("docker:log4j", "syslog:cef", "syslog:json", "syslog:logfmt", "syslog:combined"),
    *("syslog5424:json", "raw:json", "json|combined", "logfmt|app"),
    *("syslog|postgresql_csv|raw", "app|json|cef"),
]
"""Formats within others, and those whose lines take turns."""

NAMES = [*FORMATS, *SEVERAL]
BATCHES = (1, 1, 20, 200, 1000, 2000)


@pytest.fixture
def random(soak: bool) -> Random:
    seed = randrange(2**32) if soak else 7
    print(f"seed {seed}")
    return Random(seed)


@pytest.mark.parametrize("name", [*NAMES, *ALL])
def test_what_is_compiled_agrees_with_the_definition(name: str, random: Random, soak: bool) -> None:
    wanted, lines, sure = 1_000_000 if soak else 200, 0, 0
    read = [
        (
            (ALL[name] if name in ALL else described(name, header)).make(ZoneInfo(zone), 3),
            Mutator(samples, random),
        )
        for header, samples in samples_of(name).items()
        for zone in ("UTC", "Europe/Berlin")
    ]
    while lines < wanted:
        form, mutator = random.choice(read)
        count = min(random.choice(BATCHES), wanted)
        found = agreed(form, mutator.lines(count), spelled=True)
        lines += len(found)
        sure += sum(found)
    print(f"{name}: {lines} lines, {sure} read")
    assert sure


EVENTS = [
    *(("app", "java"), ("log4j", "java"), ("json", "indent"), ("logfmt", "continues:a")),
    *(("cri:json", "parts"), ("cri:log4j", "java"), ("docker:raw", "parts"), ("mysql_slow", "# ")),
    *(("postgresql_csv", ""), ("raw", r"\d")),
]
"""Formats, and which of their lines belong together."""

PII = "customer_id=hash,client_ip=mask,attributes.id=drop,email=mask,token=mask,address=mask"
CASES: dict[str, dict[str, Any]] = {
    **{name: {"log_format": name} for name in NAMES},
    **{f"{name} {how}": {"log_format": name, "log_multiline": how} for name, how in EVENTS},
    **{
        f"{name} less PII": {"log_format": name, "pii": PII, "pii_key": "key"}
        for name in ("combined", "json", "syslog", "csv", "raw")
    },
}


@pytest.mark.parametrize("case", CASES)
def test_every_line_is_a_row_or_a_dead_letter_the_same_in_every_batch(
    case: str, random: Random, soak: bool
) -> None:
    settings = Settings(**CASES[case])
    step = parse_step(settings)
    for header, samples in samples_of(settings.log_format).items():
        mutator = Mutator(samples, random)
        rests = Mutator(rests_of(settings.log_format), random)
        for _ in range(40 if soak else 1):
            lines = mutator.lines(40)
            if settings.log_multiline:
                lines = [*chain(*zip(lines[:20], rests.lines(20), strict=True))]
            ends = random.choices(["\n", "\r\n", "\n\n", "\n\r\n"], [9, 3, 1, 1], k=len(lines))
            text = "".join(line + end for line, end in zip(lines, ends, strict=True))
            data = text.encode(errors="surrogateescape")
            whole = Piece.of(piece(data, header=header).span, data, UTF_8, framing(settings))
            at_once = step(together(whole))
            if not whole.events:
                check_numbers(data, header, at_once)
            for most in (7, 1):
                parts = [step(together(part)) for part in apart(whole, most, settings)]
                assert found_in(parts) == found_in([at_once])


def check_numbers(data: bytes, header: str, parsed: Parsed) -> None:
    """Lines that are empty, or say something of the file, are neither."""
    kept = [line.lstrip(b"\0").removesuffix(b"\r") for line in data.split(b"\n")]
    texts = [line.decode(errors="replace") for line in kept if line]
    wanted = sum(not (header and is_directive(text, header)) for text in texts)
    assert len(parsed.rows) + len(parsed.rejected) == wanted


def apart(whole: Piece, most: int, settings: Settings) -> Iterator[Piece]:
    """The same bytes in pieces of so many lines, which end where no event is open."""
    lines = whole.events.frame.bounds if whole.events else np.arange(1, len(whole.ends) + 1)
    ends = whole.ends[lines - 1].tolist()
    for start, end in pairwise([0, *ends[most - 1 : -1 : most], len(whole.data)]):
        data = whole.data[start:end]
        span = piece(data, start=start, header=whole.span.header).span
        yield Piece.of(span, data, UTF_8, framing(settings))


def found_in(batches: Sequence[Parsed]) -> tuple[Any, ...]:
    """Of each place the row or the dead letter, and what else is known of all lines."""
    found: dict[int, Any] = {}
    for parsed in batches:
        for row in with_nulls(parsed.rows).iter_rows(named=True):
            found[row["offset"]] = {**filled(row), "line": 0}
        for letter in parsed.rejected.iter_rows(named=True):
            assert letter["offset"] not in found
            found[letter["offset"]] = {**letter, "line": 0}
    misfits = sum((Counter(parsed.misfits) for parsed in batches), Counter[str]())
    fits = [fit for parsed in batches for fit in parsed.fits]
    numbers = sum(fit.lines for fit in fits), sum(fit.refused for fit in fits)
    return found, misfits, numbers
