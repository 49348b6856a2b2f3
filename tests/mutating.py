"""Lines of every format, each with up to three faults, at random: see `test_mutations.py`.

Unlike libFuzzer (`fuzzing.py`) it knows nothing of the code. It knows what lines consist of: words,
numbers, times, quotes, escapes. So most of what it makes is of the format still.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from itertools import chain
from random import Random

from flows.parsing.choice import describe
from tests.layouts import ALL
from tests.test_parsing_dialects import FORMS, of
from tests.test_samples import FILES, format_of, header_of, lines_of

_WORD = re.compile(r"[^\s\"',;|=\[\](){}<>\\]+")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_DIGITS = "0123456789"
_CHARACTERS = (
    *'"""\\\\\'`=:;,.|/- \t+0159eEaZ[]{}()<>%#?&~_\0\r\x1b\x0b\x0c\x1c\x7f\x85\xa0\u2028\ufeff',
    *"\u00e9\u0130\u017f\u0663\u20ac\U0001f600\udc80\udcc3\udcff",  # the last ones are bytes
)
_ESCAPES = (
    *(r"\"", r"\\", r"\n", r"\t", r"\/", r"\x22", r"\xff", r"\x0", r"\u0041", r"\u0000", r"\u00e9"),
    *(r"\ud83d\ude00", r"\ud83d", r"\ude00\ud83d", r"\u12", r"\q", '""', "&quot;", "%22", "#011"),
)
_NUMBERS = (
    *("", "-", "0", "00", "-0", "-1", "+1", "1.", ".5", "1e3", "1E-2", "1e22", "1e400", "1e-400"),
    *("0.1", "0.30000000000000004", "123456789.123456789", "9007199254740993", "65535", "65536"),
    *("099", "100", "599", "600", "4294967296", str(2**63 - 1), str(2**63), str(2**64 - 1)),
    *(str(2**64), "1" * 20, "1" * 21, "1.7976931348623157e308", "1.8e308", "0x1f", "1_000", "NaN"),
    *("inf", "1,5", "\u0661", "12", "13", "24", "29", "30", "31", "32", "59", "60", "61", "366"),
    *("0000", "0001", "1899", "1900", "1969", "1970", "2024", "2299", "2300", "9999", "10000"),
    *("-62135596801", "253402300800", "1795378505", "1795378505.123456789", "1795378505123"),
    *("1795378505123456", "1795378505123456789", "1m3.5s", "15ms", "2us", "2\u00b5s", "1h", "5k"),
)
_TIMES = (
    *("2024-02-29T24:00:00Z", "2026-02-29T12:00:00Z", "2026-12-31T23:59:60Z"),
    *("0000-01-01T00:00:00Z", "1899-12-31T23:59:59Z", "9999-12-31T23:59:59.999999999+14:00"),
    *("2300-01-01 00:00:00", "2026-03-29 02:30:00", "2026-10-25 02:30:00,5", "2026-11-22"),
    *("2026-11-22T20:15:05.1234567-00:00", "2026-11-22t20:15:05z", "2026-11-22 20:15:05 +0000"),
    *("29/Feb/2024:24:00:60 +0000", "31/Nov/2026:20:15:05 +2400", "22/nov/2026:20:15:05 -0000"),
    *("Feb 29 23:59:59", "Feb 30 00:00:00", "Nov  2 20:15:05", "Sun Nov 22 20:15:05 2026"),
    *("12:00:00 AM", "0:15:05 PM", "13:15:05 PM", "+24:00", "-00:00", "+14:00", "Z", "UTC", "EST"),
)
_WORDS = (
    *("", "", "-", "--", '""', "null", "true", "false", "None", "(null)", "{}", "[]", "0", "~"),
    *("GET / HTTP/1.1", "GET /a", "get /", "HTTP/1.0", "PRI * HTTP/2.0", "/a?b=c", "?", "/"),
    *("INFO", "warn", "[error]", "E", "<13>", "<191>", "<192>", "203.0.113.7", "2001:db8::1", "::"),
    *("[::1]:80", "a b", "a=b", "a: b", '"a b"', "'a b'", '"a""b"', "level=info", "tags=P", "a.b"),
    *('{"a":1}', '{"a":{"b":[1,null]}}', '{"msg":"x","msg":"y"}', "#Fields: x", "CEF:0|", "\u00e9"),
    *("\x1b[0m", "\x1b[1;32mINFO\x1b[0m", "\x1b[", "\udcff\udcfe", "\0\0", "\r", "\ufeff"),
)
_REPEATED = ('"', "\\", " ", "1", "x", 'x"', r"\\x", "a=", "\u00e9", "a ", "[", '{"a":', "\x1b[0m")
_COLOURS = ("\x1b[32m", "\x1b[0m", "\x1b[1;31m", "\x1b[38;5;4m")
_RESTS = ("\tat a.B.c(B.java:7)", "Caused by: a.E: no answer", "  indented", "a=b", "{}", "\t")
_WRAPS = {
    "cri": "2026-11-22T20:15:05Z stdout F {}",
    "raw": "{}",
    "syslog": "<4>Nov 22 20:15:05 web-1 app[7]: {}",
    "syslog5424": "<4>1 2026-11-22T20:15:05Z web-1 app 7 - - {}",
}


def samples_of(name: str) -> dict[str, list[str]]:
    """Lines of a format, by the header that they are behind, empty if there is none.

    `name` is one of `FORMATS` or of `tests.layouts`, or of several: `cri:json`, `json|app`.
    """
    if name in ALL:
        return {"": [*ALL[name].samples]}
    outer, colon, inner = name.partition(":")
    if colon:
        return {"": [_wrapped(outer, text) for text in samples_of(inner)[""]]}
    if "|" in name:
        return {"": [*chain(*(samples_of(one)[""] for one in name.split("|")))]}
    found = {"": [*describe(name).samples, *(of(name) if name in FORMS else [])]}
    for file in FILES:
        if format_of(file) == name:
            found.setdefault(header_of(file), []).extend(lines_of(file))
    return found


def rests_of(name: str) -> list[str]:
    """Lines, or parts of some, that go on with an event of this format."""
    outer, colon, _ = name.partition(":")
    if not colon:
        return [*_RESTS]
    found = [_wrapped(outer, text) for text in _RESTS]
    return found + [line.replace(" F ", " P ").replace(r"\n", "") for line in found]


def _wrapped(outer: str, text: str) -> str:
    if outer == "docker":
        return json.dumps({"log": f"{text}\n", "stream": "stdout", "time": "2026-11-22T20:15:05Z"})
    return _WRAPS[outer].format(text)


class Mutator:
    """Makes lines of `samples`; the same ones of the same `random`.

    Lone surrogates stand for bytes that are not UTF-8, as `surrogateescape` has it.
    """

    def __init__(self, samples: Sequence[str], random: Random) -> None:
        self._samples = samples
        self._words = sorted({word for line in samples for word in _WORD.findall(line)})
        self._random = random
        changes: dict[Callable[[str], str], int] = {
            self._digit: 6,
            self._character: 6,
            self._word: 5,
            self._number: 4,
            self._splice: 2,
            self._part: 2,
            self._escape: 1,
            self._case: 1,
            self._around: 1,
        }
        self._changes = [*chain(*([change] * often for change, often in changes.items()))]

    def lines(self, count: int) -> list[str]:
        """So many lines, none of them empty, of few samples or of many; some are as they were."""
        random = self._random
        samples = random.choices(self._samples, k=random.choice([1, 1, 1, 2, 3, 50]))
        return [self._mutated(random.choice(samples)) for _ in range(count)]

    def _mutated(self, line: str) -> str:
        for _ in range(self._random.choice((0, 1, 1, 1, 1, 2, 2, 3))):
            line = self._random.choice(self._changes)(line)
        return line.replace("\n", " ") if line.strip("\r") else "-"

    def _place(self, line: str) -> int:
        return int(self._random.random() * (len(line) + 1))

    def _found(self, pattern: re.Pattern[str], line: str) -> tuple[int, int]:
        """Where it is behind a place at random, or at all; nowhere: at that place."""
        place = self._place(line)
        found = pattern.search(line, place) or pattern.search(line)
        return found.span() if found else (place, place)

    def _digit(self, line: str) -> str:
        begin, end = self._found(_NUMBER, line)
        at = self._random.randrange(begin, max(end, begin + 1))
        return line[:at] + self._random.choice(_DIGITS) + line[at + 1 :]

    def _character(self, line: str) -> str:
        at, one = self._place(line), self._random.choice(_CHARACTERS)
        new = self._random.choice((one, one, "", 2 * line[at : at + 1]))
        return line[:at] + new + line[at + self._random.randrange(2) :]

    def _word(self, line: str) -> str:
        begin, end = self._found(_WORD, line)
        kinds = (self._words, self._words, _WORDS, _WORDS, _TIMES, ("",))
        word = self._random.choice(self._random.choice(kinds) or ("",))
        if self._random.random() < 0.05:
            word = self._long()
        return line[:begin] + word + line[end:]

    def _long(self) -> str:
        random = self._random
        size = random.choice((8, 12, 13, 16, 64, 70, 300)) - random.randrange(4)
        if random.random() < 0.01:
            size = random.choice((4_096, 70_000))
        return random.choice(_REPEATED) * size

    def _number(self, line: str) -> str:
        begin, end = self._found(_NUMBER, line)
        return line[:begin] + self._random.choice(_NUMBERS) + line[end:]

    def _splice(self, line: str) -> str:
        other = self._random.choice(self._samples)
        at = self._place(line)
        begin = at if self._random.random() < 0.5 else self._place(other)
        return line[:at] + other[begin:]

    def _part(self, line: str) -> str:
        """A part is away, is there twice, or nothing is behind it."""
        begin, end = sorted((self._place(line), self._place(line)))
        if self._random.random() < 0.5:
            begin, end = self._found(_WORD, line)
            end += self._random.randrange(3)
        return self._random.choice(
            (line[:begin] + line[end:], line[:end] + line[begin:], line[:end], line[begin:])
        )

    def _escape(self, line: str) -> str:
        at = self._place(line)
        one = line[at : at + 1]
        escape = self._random.choice((*_ESCAPES, f"\\u{ord(one or ' '):04x}"))
        return line[:at] + escape + line[at + self._random.randrange(2) :]

    def _case(self, line: str) -> str:
        begin, end = self._found(_WORD, line)
        word = line[begin:end]
        return line[:begin] + self._random.choice((word.lower(), word.upper())) + line[end:]

    def _around(self, line: str) -> str:
        begin, end = self._random.choice(((0, len(line)), self._found(_WORD, line)))
        before, behind = self._random.choice(
            (
                *(("\ufeff", ""), ("\0\0", ""), ("", "\r"), ("", "\r\r"), (" ", ""), ("", "  ")),
                *(('"', '"'), ("'", "'"), ("[", "]"), ("{", "}"), ("<13>", ""), ("", ",")),
                (self._random.choice(_COLOURS), self._random.choice(_COLOURS)),
            )
        )
        return line[:begin] + before + line[begin:end] + behind + line[end:]
