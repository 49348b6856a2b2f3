"""How well patterns group messages, and what a message costs whose numbers are all random.

The grouping accuracy is that of Zhu et al., "Tools and Benchmarks for Automated Log Parsing" (ICSE
2019): the share of lines whose group has the same lines as the group of their true template. The
sets are those of Loghub in the directory `--data`: `<name>_2k.log_structured.csv`, with the columns
`Content` and `EventId`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

import numpy as np
import polars as pl

from benchmarks.measure import BenchmarkError, Effort, Figure, Wanted
from connectors.patterns import common
from connectors.status import Status
from flows.enrichment import Enrich
from flows.enrichment.patterns import make
from settings import Settings

SUFFIX = "_2k.log_structured.csv"
BATCH = 20_000
_SHOWN, _STORED = "as shown", "as stored"


def measure(effort: Effort, scratch: Path) -> Iterator[Figure]:
    """A figure for each set, their mean, and two of speed."""
    if effort.brief:
        return
    files = sorted(effort.data.glob(f"*{SUFFIX}"))
    if not files:
        raise BenchmarkError(f"No *{SUFFIX} in {effort.data}: say by --data where Loghub is.")
    sets = {file.name.removesuffix(SUFFIX): _read(file) for file in files}
    found = {name: accuracies(one["EventId"], one["Content"]) for name, one in sets.items()}
    for name, (shown, stored) in found.items():
        yield _figure(f"GA of {name}, {_SHOWN}", "GA", [shown], _STORED, [stored])
    shown, stored = (mean(each) for each in zip(*found.values(), strict=True))
    name = f"mean of {len(found)} sets, {_SHOWN}"
    yield _figure(name, "GA", [shown], _STORED, [stored], Wanted(0.94, "GA", at_least=True))
    messages = pl.concat(one["Content"] for one in sets.values()).to_list()
    for name, word, bound in (("random numbers", False, 0.67), ("a new word in each", True, 4)):
        batches = max(2, min(50, effort.lines // BATCH))
        costs = [_cost(messages, batches, seed, word=word) for seed in range(effort.rounds)]
        yield _figure(f"CPU of {name}", "us/line", costs, "", [], Wanted(bound, "us/line"))


def accuracies(truth: pl.Series, messages: pl.Series) -> tuple[float, float]:
    """The grouping accuracy of patterns as they are shown, and as they are stored."""
    stored = _enricher()(messages.alias("message").to_frame())["pattern"]
    shown = stored.replace_strict(common(stored), return_dtype=pl.String)
    return accuracy(truth, shown), accuracy(truth, stored)


def accuracy(truth: pl.Series, groups: pl.Series) -> float:
    """The share of lines whose group has the lines of one true group, all of them."""
    both = pl.DataFrame({"truth": truth, "group": groups})
    one = pl.col("truth").n_unique().over("group"), pl.col("group").n_unique().over("truth")
    share = both.select(((one[0] == 1) & (one[1] == 1)).mean()).item()
    assert isinstance(share, float)
    return share


def _figure(
    name: str, unit: str, ours: list[float], beside: str, theirs: list[float], *wanted: Wanted
) -> Figure:
    return Figure("patterns", name, unit, ours, beside, theirs, [*wanted])


def _read(file: Path) -> pl.DataFrame:
    read = pl.read_csv(file, columns=["EventId", "Content"], infer_schema_length=0)
    return read.fill_null("")


def _enricher() -> Enrich:
    return make(Settings(_env_file=None), Status())


def _cost(messages: list[str], batches: int, seed: int, *, word: bool) -> float:
    """CPU microseconds of a message, once the texts that repeat were seen."""
    random, enrich = np.random.default_rng(seed), _enricher()
    made = [_batch(messages, random, word=word) for _ in range(batches + 1)]
    enrich(made[0])
    before = time.process_time()
    for rows in made[1:]:
        enrich(rows)
    return (time.process_time() - before) / (batches * BATCH) * 1e6


def _batch(messages: list[str], random: np.random.Generator, *, word: bool) -> pl.DataFrame:
    """Messages with other digits in the place of theirs, and a word that nobody has seen."""
    lines = [messages[one] for one in random.integers(0, len(messages), BATCH)]
    if word:
        letters = random.integers(ord("g"), ord("z") + 1, (BATCH, 9), np.uint8)
        lines = [
            f"{line} {end.tobytes().decode()}" for line, end in zip(lines, letters, strict=True)
        ]
    text = np.frombuffer("\n".join(lines).encode(), np.uint8).copy()
    digits = (text >= ord("0")) & (text <= ord("9"))
    text[digits] = random.integers(ord("0"), ord("9") + 1, int(digits.sum()), np.uint8)
    return pl.DataFrame({"message": text.tobytes().decode().split("\n")})
