"""`LOG_FORMAT=auto`: the format of each file is found out, and again when its lines change."""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from connectors.accounts import FRAGMENTS
from connectors.batch import Numbers, Parsed, Span, Taken
from connectors.encodings import UTF_8
from connectors.saying import say, shown
from connectors.sources.around import lines_before
from connectors.sources.framing import PRESETS, frame
from connectors.sources.samples import lines_of, sample
from connectors.sources.sense import Sense, Unknown, is_directive
from flows.parsing import ANY, AUTO, EVENTS, FORMATS
from flows.parsing.cells import CellsFormat
from flows.parsing.formats.raw import beginning
from flows.parsing.parser import Row
from flows.parsing.ranking import (
    Candidate,
    Headers,
    choose,
    format_of,
    has_time,
    known_headers,
    takes,
)
from flows.parsing.times import WHEN_SEEN
from flows.pii import NO_LINE
from flows.steps import framing_of, header_of
from settings import Settings

Flags = npt.NDArray[np.bool_]

_TOLD = 20  # files whose format is said
_KEPT = 200  # lines of a change that are looked at
_FEW, _MANY = 5, 20  # refused lines that show a change, and that show a wrong choice
_LONG = 150  # refused lines in a row that are worth another format, whatever that is
_MOST_DOUBLED = 10  # changes of a file, each of which needs twice as many lines as the one before
_ASKED = 2000  # lines that another format is asked about
_REST = 20  # times as long as that took, it is not asked again
_CREDIT = 10.0  # seconds of such a rest that may be saved up
_SHAPE = 64  # characters of a line by which lines are known that are of no other format
_MOST_SHAPES = 10_000
_MOST_FORMATS = 3
_ALL = 0.9  # share of the lines that are refused since a change
_SOME = 0.02  # share of them that makes a choice doubtful
_FEW_TIMED = 0.1  # share of lines that go on with others and may have a time
_SURE = 0.95  # share of them that another format has to take
_AT_ONCE, _PROBED = 512, 16  # lines before those of a change: of so many, one in so many is tried
_CALM = 10_000  # lines without a refused one, after which those before are forgotten
_MOST_FILES = 10_000
_SHOWN = 160  # characters of a line
_HALF = 0.5  # share of them that is enough if there are many
_EVENT = 48 * 1024  # bytes of lines that go on with one
_LETTERS, _DIGITS = re.compile(r"[^\W\d_]+"), re.compile(r"\d+")


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
        self._named: OrderedDict[str, str] = OrderedDict()  # the last format by the file's name
        self._doubts: OrderedDict[int, _Doubt] = OrderedDict()
        self._had: dict[int, list[str]] = {}  # the formats before of each file that has changed
        self._waiting: dict[int, tuple[int, int]] = {}  # from where, and how much was looked at
        self._shapes: set[tuple[str, str, str]] = set()  # of lines that are of no other format
        self._rested = 0.0  # from when on the next one is looked at
        self._told = 0

    def choose(self, file: Unknown) -> Sense | None:
        """See `Chooser`: what was chosen, what the ledger says, or what fits."""
        rule = self._rule(file.name)
        if rule and rule.format not in ("", AUTO):
            return self._known(rule.format, rule.multiline)
        sense, before = self._chosen.get(file.file_id, (None, ""))
        if sense and file.format in ("", before, sense.format):  # else another process knows better
            return self._apart(file, sense)
        framed = file.evidence.framing if file.evidence else ""
        if file.format and (known := self._known(file.format, framed)):
            return self._apart(file, known)
        lines = self._lines(file)
        headers = known_headers(file.open(), file.start, file.encoding)
        named = self._named.get(file.name, "")
        if _takes_any(named) and len(lines) >= _MANY:  # which shows what else they may be
            named = ""
        found = choose(lines, self._zone, named, headers)
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
        """See `Chooser`: where lines are refused, or any is taken, another format may fit."""
        if batch.in_doubt:
            return
        letters = parsed.rejected
        usual = letters.filter(~letters["reason"].is_in(FRAGMENTS))
        refused = {
            key[0]: part["offset"].to_numpy().astype(np.int64)
            for key, part in usual.partition_by("file_id", as_dict=True).items()
        }
        end = 0
        for span in batch.spans:
            begin, end = end, end + span.records
            rule = self._rule(span.stream.name)
            if not span.format or begin == end or (rule and rule.format not in ("", AUTO)):
                continue
            offsets, doubt = refused.get(span.stream.id), self._doubts.get(span.stream.id)
            other = (doubt and doubt.other) or self._other(span, batch, end - 1)
            if offsets is None and not doubt and not other:
                continue
            records = np.arange(max(begin, end - _ASKED) if other else begin, end)
            sizes = batch.starts[records + 1] - batch.starts[records]
            records = records[sizes > len("\r\n") * batch.encoding.unit]  # the others are empty
            bad = np.isin(batch.places[records], [] if offsets is None else offsets)
            if other:
                other, are_of_it = self._those_of(other, span, batch, records, doubt)
                bad |= are_of_it
            self._judge(span, batch, records, bad, other)

    def _other(self, span: Span, batch: Taken, number: int) -> Candidate | None:
        """Another format that a line is of, which its own has taken for no good reason."""
        if not self._is_odd(span, batch, number) or not (text := _head(batch, number)):
            return None
        shape = span.format, span.header, _shape(text)
        if shape in self._shapes or time.monotonic() < self._rested:
            return None
        if not (best := self._asked(span.format, [text])):
            if len(self._shapes) >= _MOST_SHAPES:
                self._shapes.clear()
            self._shapes.add(shape)
        return best

    def _those_of(
        self, other: Candidate, span: Span, batch: Taken, records: Numbers, doubt: _Doubt | None
    ) -> tuple[Candidate, Flags]:
        """Which records are of another format; it may be yet another one, by those of before."""
        odd = [number for number in records.tolist() if self._is_odd(span, batch, number)]
        taken = [number for number in odd if self._takes(other, _head(batch, number))]
        if len(taken) < len(odd) and doubt and time.monotonic() >= self._rested:
            texts = doubt.texts + [_head(batch, number) for number in odd[-_KEPT:]]
            if better := self._asked(span.format, texts):
                other = better
                taken = [number for number in odd if self._takes(other, _head(batch, number))]
        return other, np.isin(records, taken)

    def _asked(self, own: str, texts: list[str]) -> Candidate | None:
        """The best format; what that takes of this process is little, for a rest follows."""
        began = time.monotonic()
        best = self._best(own, texts)
        rest = _REST * (time.monotonic() - began)
        self._rested = max(self._rested, began - _CREDIT) + rest
        return best

    def _is_odd(self, span: Span, batch: Taken, number: int) -> bool:
        """Whether its own format takes a line that need not be of it."""
        if span.header or _takes_any(span.format):
            return not self._owns(span, _head(batch, number))
        return False

    def _owns(self, span: Span, text: str) -> bool:
        """Whether a line is clearly of the format that it is read by."""
        if _takes_any(span.format):
            return False
        if span.header:
            form = format_of(span.format, ZoneInfo(self._zone), span.header)
            is_row = not isinstance(form, CellsFormat) or form.is_filled(text)
            return is_directive(text, span.header) or is_row
        return takes(span.format, text, self._zone) is not None

    def _judge(
        self, span: Span, batch: Taken, records: Numbers, bad: Flags, other: Candidate | None
    ) -> None:
        file_id = span.stream.id
        with self._lock:
            doubt = self._doubts.setdefault(file_id, _Doubt())
            if len(self._doubts) > _MOST_FILES:
                self._doubts.popitem(last=False)
        doubt.other = other
        doubt.add(batch, records, bad)
        found = self._changed(span, batch, doubt)
        if not found and not other:
            found = self._better(span, batch, records, doubt)
        if found or doubt.calm >= _CALM:
            with self._lock:
                self._doubts.pop(file_id, None)
        if found:
            self._change(span, batch, *found)

    def _change(self, span: Span, batch: Taken, best: Candidate, since: _Refused) -> None:
        file_id, had = span.stream.id, self._had.setdefault(span.stream.id, [])
        name = best.name
        if name in had:  # it seems that both take turns
            name = _together(name, span.format) or name
        had.append(span.format)
        rule = self._rule(span.stream.name)
        events = (rule.multiline if rule else "") or self.events(name, since.texts)
        sense = self._sense(name, events, _fit(best))
        self._remember(file_id, span.stream.name, sense, span.format)
        place, text = next(line for line in since.kept if self._is_of(best, line[1]))
        place, text = self._begin(span, batch, best, place, text)
        rows = (self._takes(best, line) for line in [text, *since.texts])
        when = _clock(next(row for row in rows if row is not None))
        how, redrive = "of another format", ""
        if takes(span.format, text, self._zone, span.header) is None:
            how, redrive = "rejected", " `logwax redrive` stores what was rejected."
        self._warn(
            f"{span.stream.name}, byte {place:,}{when}: {100 * since.share:.0f} % {how} since; "
            f"{_fit(best)}, and {_is_now(best, name)}.{redrive} {self._shown(text)}"
        )

    def _shown(self, text: str) -> str:
        if self._settings.pii:
            return NO_LINE[0].upper() + NO_LINE[1:]
        return f"It begins with {shown(text[:_SHOWN])}"

    def _begin(
        self, span: Span, batch: Taken, best: Candidate, place: int, text: str
    ) -> tuple[int, str]:
        """Where the lines of the best format begin, of which one is at this place.

        A process that ran before may have read them. Some may be of the format of before, too, and
        a few of none.
        """
        first = earliest = place, text
        both = 0
        lines = lines_before(span, place, batch.encoding)
        while some := list(islice(lines, _AT_ONCE)):
            if all(self._is_only_of(best, span, text) for _, text in [*some[::_PROBED], some[-1]]):
                first, both = some[-1], 0
                continue
            for line in some:
                is_owned = self._owns(span, line[1])
                is_in_front = self._names(best, earliest[1]) and not self._names(best, line[1])
                if not self._is_of(best, line[1]) or (is_owned and is_in_front):
                    return earliest
                earliest = line
                if is_owned:
                    both += 1
                    if both > _MANY:  # it takes all of them
                        return first
                else:
                    first, both = line, 0
        return first

    def _changed(
        self, span: Span, batch: Taken, doubt: _Doubt
    ) -> tuple[Candidate, _Refused] | None:
        """The format of lines that have changed: nearly all of the newest are refused."""
        since, other = doubt.since, doubt.other
        few = (_MANY if other else _FEW) << min(
            _MOST_DOUBLED, len(self._had.get(span.stream.id, ()))
        )
        if since.refused < max(few, since.next_look):
            return None
        share = _HALF if since.refused >= _LONG else _SURE
        texts = [*self._directives(span, batch, since.kept[0][0]), *since.texts]
        best = self._best(span.format, texts, share)
        if not best and not other:
            best = self._any(span.format, since)
        if best and any(self._takes(best, text) for text in since.texts):
            return best, since
        since.next_look = 2 * since.refused
        return None

    def _directives(self, span: Span, batch: Taken, place: int) -> list[str]:
        """The lines in front of a place that may name its columns: other formats lose them."""
        lines = (text for _, text in lines_before(span, place, batch.encoding))
        return list(islice(takewhile(lambda text: text.startswith("#"), lines), _MANY))[::-1]

    def _any(self, name: str, since: _Refused) -> Candidate | None:
        """The format of before, and any line beside it, if so many are of no format."""
        found = choose(since.texts, self._zone, headers={})
        if not found or found.best.name != ANY or since.refused < _MANY:
            return None
        timed = sum(has_time(text, self._zone) for text in since.texts)
        # Long traces have no times, but lines that go on with others.
        if 2 * timed < len(since.texts) and (found.has_events or since.refused < _LONG):
            return None
        return replace(found.best, name=_together(name, ANY) or ANY)

    def _better(
        self, span: Span, batch: Taken, records: Numbers, doubt: _Doubt
    ) -> tuple[Candidate, _Refused] | None:
        """The format that fits all lines better than that by which some are refused for long."""
        if doubt.refused < max(_MANY, doubt.next_look, _SOME * doubt.lines):
            return None
        doubt.next_look = 2 * doubt.refused
        some = records[:: max(1, len(records) // _KEPT)].tolist()
        texts = [batch.decoded(number)[0] for number in some]
        best = self._best(span.format, doubt.texts + texts, header=span.header)
        # Lines that are not of the format within another one are no reason to give that up.
        if not best or best.name == span.format.partition(":")[0]:
            return None
        if span.format in best.name.split("|"):  # most lines are of it
            best = replace(best, name=_together(span.format, best.name) or best.name)
        return (best, doubt) if any(self._takes(best, text) for text in doubt.texts) else None

    def _is_only_of(self, one: Candidate, span: Span, text: str) -> bool:
        return self._is_of(one, text) and not self._owns(span, text)

    def _takes(self, one: Candidate, text: str) -> Row | None:
        return takes(one.name, text, self._zone, one.header)

    def _is_of(self, one: Candidate, text: str) -> bool:
        """Whether a line is of a format; those that say what its columns are count."""
        return self._names(one, text) or self._takes(one, text) is not None

    def _names(self, one: Candidate, text: str) -> bool:
        return bool(one.header) and is_directive(text, one.header)

    def _best(
        self, own: str, texts: list[str], share: float = _SURE, header: str = ""
    ) -> Candidate | None:
        """The format that so many of these lines fit, if it is not their own.

        That is one of them only if it has no `header`, or this one is in front of them.
        """
        begins = header_of(own) if header else None
        found = choose(texts, self._zone, headers={} if begins is None else {begins: header})
        if not found or found.best.share < share:
            return None
        is_other = found.best.name not in (own, *own.split("|"))
        return found.best if is_other and found.best.name.partition(":")[0] != ANY else None

    def _apart(self, file: Unknown, sense: Sense) -> Sense:
        """How lines are meant if many wait that go on with one, and that another format takes.

        Each of them is a record then.
        """
        framing, begin = sense.framing, file.start
        if not framing or not framing.rules.begins or self._settings.log_multiline:
            return sense
        before, seen = self._waiting.get(file.file_id, (-1, 0))
        size = file.size - begin
        if begin != before or size < 2 * seen:
            self._waiting[file.file_id] = begin, seen if begin == before else 0
            return sense
        self._waiting[file.file_id] = begin, size
        data, encoding = file.open().read(min(size, _EVENT), begin), file.encoding.name
        ends = file.encoding.ends(data)
        kinds = framing.kinds(data, ends, file.encoding)
        firsts = frame(kinds, np.concatenate(([0], ends[:-1])), ends).firsts
        last = int(firsts[1]) if len(firsts) > 1 else len(ends)
        if last < _MANY:
            return sense
        lines = [
            (begin + at, file.encoding.without_end(data[at:end]).decode(encoding, "replace"))
            for at, end in pairwise([0, *ends[:last].tolist()])
        ]
        best = self._best(sense.format, [text for _, text in lines[len(lines) // 2 :] if text])
        if not best:
            return sense
        place, text, row = next(
            (place, text, row) for place, text in lines if (row := self._takes(best, text))
        )
        name = _together(best.name, sense.format) or best.name
        found = self._sense(name, why=_fit(best))
        self._remember(file.file_id, file.name, found, file.format)
        self._warn(
            f"{file.name}, byte {place:,}{_clock(row)}: lines go on with one before; {_fit(best)}, "
            f"and {_is_now(best, name)}. {self._shown(text)}"
        )
        return found


def _takes_any(name: str) -> bool:
    return ANY in name.split("|")


def _together(name: str, other: str) -> str:
    """The format of lines of both, as they take turns; empty: there is none."""
    names = list(dict.fromkeys([*name.split("|"), *other.split("|")]))
    is_plain = all(one in FORMATS and header_of(one) is None for one in names)
    return "|".join(names) if is_plain and len(names) <= _MOST_FORMATS else ""


def _fit(one: Candidate) -> str:
    if _takes_any(one.name):
        return "no other format fits"
    return f"{one.name} fits {100 * one.share:.1f} % of {one.lines} lines"


def _is_now(best: Candidate, name: str) -> str:
    is_it = name == best.name and not _takes_any(name)
    return f"{'' if is_it else name + ' '}is the format from now on"


def _clock(row: Row) -> str:
    """When a line says that it is, if it does."""
    when = row.get("timestamp")
    return f", {when:%H:%M:%S}" if isinstance(when, datetime) and when != WHEN_SEEN else ""


def _shape(text: str) -> str:
    """A line less what varies."""
    return _LETTERS.sub("a", _DIGITS.sub("0", text[:_SHAPE]))


def _head(batch: Taken, number: int) -> str:
    """The first line of a record."""
    return batch.decoded(number)[0].partition("\n")[0]


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

    @property
    def kept(self) -> list[tuple[int, str]]:
        """The first and the newest that were refused, with their places."""
        return list(dict(self.first + list(self.newest)).items())

    @property
    def texts(self) -> list[str]:
        """Some of them, the first and the last ones."""
        texts = [text for _, text in self.kept]
        half = _KEPT // 2
        return texts if len(texts) <= _KEPT else texts[:half] + texts[-half:]

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

    The last `calm` ones were not. `other`: the format of lines that count as refused, too.
    """

    calm: int = 0
    other: Candidate | None = None
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
