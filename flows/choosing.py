"""`LOG_FORMAT=auto`: the format of each file is found out, and again when its lines change."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from connectors.accounts import FRAGMENTS
from connectors.batch import Numbers, Parsed, Span, Taken
from connectors.encodings import UTF_8
from connectors.saying import say, shown
from connectors.sources.framing import PRESETS, frame
from connectors.sources.samples import lines_of, sample
from connectors.sources.sense import Sense, Unknown
from flows.parsing import ANY, AUTO, EVENTS
from flows.parsing.formats.raw import beginning
from flows.parsing.parser import Row
from flows.parsing.ranking import Candidate, Headers, choose, has_time, known_headers, takes
from flows.pii import NO_LINE
from flows.steps import framing_of, header_of
from settings import Settings

Flags = npt.NDArray[np.bool_]

_TOLD = 20  # files whose format is said
_KEPT = 200  # lines of a change that are looked at
_FEW, _MANY = 5, 20  # refused lines that show a change, and that show a wrong choice
_ALL = 0.9  # share of the lines that are refused since a change
_SOME = 0.02  # share of them that makes a choice doubtful
_FEW_TIMED = 0.1  # share of lines that go on with others and may have a time
_SURE = 0.95  # share of them that another format has to take
_CALM = 10_000  # lines without a refused one, after which those before are forgotten
_MOST_FILES = 10_000
_SHOWN = 160  # characters of a line


class Choices:
    """The format of each file: what the ledger says, else what fits the lines that are there.

    What was found out is told, and what changes is a warning.
    """

    def __init__(
        self,
        settings: Settings,
        tell: Callable[[str], None] = lambda sentence: None,
        warn: Callable[[str], None] = say,
    ) -> None:
        self._settings = settings
        self._zone = settings.log_timezone
        self._say = tell
        self._warn = warn
        self._lock = threading.Lock()
        self._chosen: dict[int, tuple[Sense, str]] = {}  # by file; and its format before
        self._known = lru_cache(maxsize=256)(self._sense_of)
        self._rule = lru_cache(maxsize=_MOST_FILES)(settings.rules.of)
        self._changes: Counter[int] = Counter()  # by file
        self._named: OrderedDict[str, str] = OrderedDict()  # the last format by the file's name
        self._doubts: OrderedDict[int, _Doubt] = OrderedDict()
        self._told = 0

    def choose(self, file: Unknown) -> Sense | None:
        """See `Chooser`: what was chosen, what the ledger says, or what fits."""
        rule = self._rule(file.name)
        if rule and rule.format not in ("", AUTO):
            return self._known(rule.format, rule.multiline)
        sense, before = self._chosen.get(file.file_id, (None, ""))
        if sense and file.format in ("", before, sense.format):  # else another process knows better
            return sense
        framed = file.evidence.framing if file.evidence else ""
        if file.format and (known := self._known(file.format, framed)):
            return known
        lines = self._lines(file)
        headers = known_headers(file.open(), file.start, file.encoding)
        found = choose(lines, self._zone, self._named.get(file.name, ""), headers)
        if not found:
            return None
        name = found.best.name
        preset = rule.multiline if rule else ""
        if not preset and (found.has_events or name == ANY or found.best.share < 1):
            preset = self.events(name, lines)
        sense = self._sense(name, preset, str(found))
        self._remember(file.file_id, file.name, sense)
        joined = f" Lines are joined by LOG_MULTILINE={preset}." if preset else ""
        self._tell(f"{file.name!r}: {found}.{joined}")
        return sense

    def events(self, name: str, lines: Sequence[str]) -> str:
        """The `LOG_MULTILINE` by which the lines that the format refuses go on with others.

        It is the name of a preset, or how lines begin that have a time. It must leave no line out
        that the format takes; `raw` takes those with a time. Empty: there is none, or no need.
        """
        if self._settings.log_multiline or header_of(name) is not None or name in EVENTS:
            return ""
        is_any = name == ANY
        taken = np.array(
            [
                has_time(line, self._zone) if is_any else takes(name, line, self._zone) is not None
                for line in lines
            ]
        )
        others = int((~taken).sum())
        if not others or not taken.any():
            return ""
        begin = ""
        left_out = np.flatnonzero(~taken).tolist()
        timed = 0 if is_any else sum(has_time(lines[number], self._zone) for number in left_out)
        if others >= _SOME * len(lines) and timed < _FEW_TIMED * others:  # else they are no rest
            begin = beginning([lines[number] for number in np.flatnonzero(taken).tolist()])
        data = "".join(f"{line}\n" for line in lines).encode(errors="replace")
        ends = UTF_8.ends(data)
        best, left = "", (others + 1) // 2  # joining has to be worth it
        for preset in (*PRESETS, begin):
            framing = framing_of(name, preset)
            if not framing or preset == "parts" or (preset == begin and framing.container):
                continue
            kinds = framing.kinds(data, ends, UTF_8)
            found = frame(kinds, np.concatenate(([0], ends[:-1])), ends)
            begins = np.zeros(len(lines), np.bool_)
            begins[found.firsts] = True
            refused = int((begins & ~taken).sum())
            if refused < left and not (taken & ~begins).any():
                best, left = preset, refused
        return best

    def again(
        self, name: str, lines: Sequence[str], before: str, headers: Headers | None = None
    ) -> str:
        """The format by which refused lines of a file are tried again, which were of another.

        They are behind these `headers` (None: nobody knows of any). Empty: that of the settings.
        """
        if self._settings.log_format != AUTO:
            return ""
        rule = self._rule(name)
        if rule and rule.format not in ("", AUTO):
            return rule.format
        found = choose(lines, self._zone, headers=headers or {})
        return found.best.name if found and found.best.name != ANY else before

    def _lines(self, file: Unknown) -> list[str]:
        content = file.open()
        lines = sample(content, file.start, file.size, file.encoding)
        if not lines and getattr(file, "is_final", False):  # its last line, as it is
            data = content.read(min(file.size - file.start, 64 * 1024), file.start)
            lines = lines_of(data + file.encoding.newline, file.encoding)
        return lines

    def _sense_of(self, name: str, framed: str) -> Sense | None:
        """How lines of this format are meant; None: it is known no more."""
        try:
            return self._sense(name, framed.removeprefix(f"{name.partition(':')[0]}:"))
        except ValueError:
            return None

    def _sense(self, name: str, events: str = "", why: str = "") -> Sense:
        """`events` says which lines are one, unless the settings do."""
        framing = framing_of(name, self._settings.log_multiline or events)
        return Sense(name, framing, header_of(name), why)

    def _remember(self, file_id: int, path: str, sense: Sense, before: str = "") -> None:
        with self._lock:
            self._chosen[file_id] = sense, before
            self._named[path] = sense.format
            self._named.move_to_end(path)
            if len(self._named) > _MOST_FILES:
                self._named.popitem(last=False)

    def _tell(self, sentence: str) -> None:
        self._told += 1
        if self._told <= _TOLD:
            self._say(sentence)
        elif self._told == _TOLD + 1:
            self._say("The formats of more files are in /pipeline.")

    # Whether they still fit

    def look(self, batch: Taken, parsed: Parsed) -> None:
        """See `Chooser`: where many lines are refused and another format fits, choose that one."""
        letters = parsed.rejected
        if batch.in_doubt or not (len(letters) or self._doubts):
            return
        usual = letters.filter(~letters["reason"].is_in(FRAGMENTS))
        refused = {
            key[0]: part["offset"].to_numpy().astype(np.int64)
            for key, part in usual.partition_by("file_id", as_dict=True).items()
        }
        edges = np.cumsum([0, *(span.records for span in batch.spans)]).tolist()
        for at, span in enumerate(batch.spans):
            offsets = refused.get(span.stream.id)
            rule = self._rule(span.stream.name)
            is_told = rule and rule.format not in ("", AUTO)
            if (
                span.format
                and not is_told
                and (offsets is not None or span.stream.id in self._doubts)
            ):
                records = np.arange(edges[at], edges[at + 1])
                sizes = batch.starts[records + 1] - batch.starts[records]
                records = records[sizes > len("\r\n") * batch.encoding.unit]  # the others are empty
                bad = np.isin(batch.places[records], [] if offsets is None else offsets)
                self._judge(span, batch, records, bad)

    def _judge(self, span: Span, batch: Taken, records: Numbers, bad: Flags) -> None:
        file_id = span.stream.id
        with self._lock:
            doubt = self._doubts.setdefault(file_id, _Doubt())
            if len(self._doubts) > _MOST_FILES:
                self._doubts.popitem(last=False)
        doubt.add(batch, records, bad)
        found = self._changed(span, doubt) or self._better(span, batch, records, doubt)
        if found or doubt.calm >= _CALM:
            with self._lock:
                self._doubts.pop(file_id, None)
        if found:
            self._change(span, *found)

    def _change(self, span: Span, best: Candidate, since: _Refused) -> None:
        place, text, row = next(
            (place, text, row) for place, text in since.first if (row := self._takes(best, text))
        )
        self._changes[span.stream.id] += 1
        sense = self._sense(best.name, why=_fit(best))
        self._remember(span.stream.id, span.stream.name, sense, span.format)
        when = row.get("timestamp")
        clock = f", {when:%H:%M:%S}" if isinstance(when, datetime) else ""
        how = f"It begins with {shown(text[:_SHOWN])}"
        if self._settings.pii:
            how = NO_LINE[0].upper() + NO_LINE[1:]
        self._warn(
            f"{span.stream.name}, byte {place:,}{clock}: {100 * since.share:.0f} % rejected since; "
            f"{_fit(best)}, and is the format from now on. `logwax redrive` stores what was "
            f"rejected. {how}"
        )

    def _changed(self, span: Span, doubt: _Doubt) -> tuple[Candidate, _Refused] | None:
        """The format of lines that have changed: nearly all of the newest are refused."""
        since = doubt.since
        few = _FEW * 10 ** min(4, self._changes[span.stream.id])  # of a file with two formats
        if since.refused < max(few, since.next_look):
            return None
        best = self._best(span, [text for _, text in since.newest])
        if best and any(self._takes(best, text) for _, text in since.first):
            return best, since
        since.next_look = 2 * since.refused
        return None

    def _better(
        self, span: Span, batch: Taken, records: Numbers, doubt: _Doubt
    ) -> tuple[Candidate, _Refused] | None:
        """The format that fits all lines better than that by which some are refused for long."""
        if doubt.refused < max(_MANY, doubt.next_look, _SOME * doubt.lines):
            return None
        doubt.next_look = 2 * doubt.refused
        some = records[:: max(1, len(records) // _KEPT)].tolist()
        texts = [batch.decoded(number)[0] for number in some]
        best = self._best(span, [text for _, text in doubt.first] + texts)
        # Lines that are not of the format within another one are no reason to give that up.
        if not best or best.name == span.format.partition(":")[0]:
            return None
        return (best, doubt) if any(self._takes(best, text) for _, text in doubt.first) else None

    def _takes(self, one: Candidate, text: str) -> Row | None:
        return takes(one.name, text, self._zone, one.header)

    def _best(self, span: Span, texts: list[str]) -> Candidate | None:
        """The format that nearly all of these lines fit, if it is another one."""
        found = choose(texts, self._zone, headers={})
        is_other = found and found.best.name not in (ANY, span.format)
        return found.best if found and is_other and found.best.share >= _SURE else None


def _fit(one: Candidate) -> str:
    return f"{one.name} fits {100 * one.share:.1f} % of {one.lines} lines"


@dataclass
class _Refused:
    """How many lines were refused of how many, the first ones of them, and the newest."""

    lines: int = 0
    refused: int = 0
    first: list[tuple[int, str]] = field(default_factory=list)  # places and texts
    newest: deque[tuple[int, str]] = field(default_factory=lambda: deque(maxlen=_KEPT))
    next_look: int = 0

    @property
    def share(self) -> float:
        """The share of the lines that were refused."""
        return self.refused / self.lines

    def add(self, batch: Taken, records: Numbers, bad: Flags) -> None:
        """The next records of the file, and which of them were refused."""
        wrong = records[bad].tolist()
        self.lines += len(records)
        self.refused += len(wrong)
        self.first += [_line(batch, number) for number in wrong[: _KEPT - len(self.first)]]
        self.newest.extend(_line(batch, number) for number in wrong[-_KEPT:])


@dataclass
class _Doubt(_Refused):
    """The lines of a file since the first refused one; `since` which nearly all are.

    The last `calm` ones were not.
    """

    calm: int = 0
    since: _Refused = field(default_factory=_Refused)

    def add(self, batch: Taken, records: Numbers, bad: Flags) -> None:
        """See `_Refused`."""
        super().add(batch, records, bad)
        wrong, count = np.flatnonzero(bad), len(bad)
        self.calm = count - 1 - int(wrong[-1]) if len(wrong) else self.calm + count
        refused, lines = self.since.refused + len(wrong), self.since.lines + count
        if not self.since.lines or refused < _ALL * lines:
            begin = _turn(bad)
            records, bad, self.since = records[begin:], bad[begin:], _Refused()
        self.since.add(batch, records, bad)


def _line(batch: Taken, number: int) -> tuple[int, str]:
    return int(batch.places[number]), batch.decoded(number)[0]


def _turn(bad: Flags) -> int:
    """The first record from which on nearly all are refused, itself one of them."""
    shares = np.cumsum(bad[::-1])[::-1] / np.arange(len(bad), 0, -1)
    found = np.flatnonzero(bad & (shares >= _ALL))
    return int(found[0]) if len(found) else len(bad)
