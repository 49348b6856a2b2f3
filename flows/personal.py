"""What is personal or secret in a text: e-mail addresses, tokens, card numbers, IP addresses.

Each pattern finds too much rather than too little, and takes a time that grows with the text only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from ipaddress import AddressValueError, IPv6Address, IPv6Network
from typing import NamedTuple

Instead = Callable[[str], str]
"""What stands in the place of a value that was found."""


class Pattern(NamedTuple):
    """One kind of what is found in texts.

    `may` is an expression of Rust: only a text that it takes can have one. `hide` gives the text
    with something `Instead` of each. `masks` is an expression of Rust and what it is replaced by:
    this masks all but what `rest` takes.
    """

    may: str
    hide: Callable[[str, Instead], str]
    masks: tuple[str, str] | None = None
    rest: str = ""


def masked_address(text: str) -> str:
    """The network of an IPv4 (/24) or IPv6 (/48) address; `<address>` for all that is none."""
    if _IPV4.fullmatch(text):
        return text.rpartition(".")[0] + ".0"
    try:
        address = IPv6Address(text)
    except AddressValueError:
        return "<address>"
    if address.ipv4_mapped:
        return f"::ffff:{masked_address(str(address.ipv4_mapped))}"
    return str(IPv6Network((address, 48), strict=False).network_address)


# RFC 5321, section 4.5.3.1, has the lengths. The last label begins with a letter, unlike a version.
_EMAIL = re.compile(
    r"[\w.+%-]{1,64}(?:@|%40|\\u0040)(?:[\w-]{1,63}\.){1,8}[^\W\d_][\w-]{1,62}", re.IGNORECASE
)

_SECRETS = r"(?:token|passw(?:or)?d|passphrase|secret|api[_-]?key|access[_-]?key|private[_-]?key)"
_NAMED = re.compile(
    rf"""({_SECRETS}\\*["']?\s*(?:[=:]|%3d)\s*)
    (?:(")(?:[^"\\]|\\.)+ | (\\+")[^"\\]+ | (')[^'\\]+ | [^\s"'\\&;,)}}\]]+)""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_SCHEME = re.compile(
    r"(\bbearer\s+|authorization\\*[\"']?\s*[=:]\s*\\*[\"']?(?!bearer)[a-z]+\s+)[\w.~+/=-]{8,}",
    re.IGNORECASE,
)
_USER_INFO = re.compile(r"(://[^/\s:@]{0,64}:)[^/\s@]{1,256}(?=@)")
_JWT = re.compile(r"(?<![\w-])()eyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*", re.ASCII)  # RFC 7519
_AWS = re.compile(r"\b()(?:AKIA|ASIA)[A-Z0-9]{16}\b", re.ASCII)

is_secret = re.compile(rf"{_SECRETS}\Z", re.IGNORECASE).search
"""Whether what is under such a name is a secret."""

_DIGITS = re.compile(r"(?<!\w)[0-9]{3,}(?:[ -][0-9]{3,})*(?!\w)")
_CARD_LENGTHS = (16, 15, 14, 13, 19, 18, 17)  # ISO/IEC 7812-1; the most frequent first

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = re.compile(rf"\b{_OCTET}(?:\.{_OCTET}){{3}}\b", re.ASCII)
_MAY_BE_IPV6 = "::|(?:[0-9A-Fa-f]{1,4}:){7}"
_IPV6 = re.compile(
    r"(?<![\w:.])[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,8}(?:\.[0-9]{1,3}){0,3}(?![\w:])",
    re.ASCII | re.IGNORECASE,
)


def _hide_emails(text: str, instead: Instead) -> str:
    return _EMAIL.sub(lambda found: instead(found[0]), text)


def _hide_tokens(text: str, instead: Instead) -> str:
    def value(found: re.Match[str]) -> str:
        kept = "".join(group or "" for group in found.groups())
        return kept + instead(found[0][len(kept) :])

    for tokens in (_USER_INFO, _SCHEME, _JWT, _AWS, _NAMED):
        text = tokens.sub(value, text)
    return text


def _hide_cards(text: str, instead: Instead) -> str:
    return _DIGITS.sub(lambda found: _without_cards(found[0], instead), text)


def _without_cards(text: str, instead: Instead) -> str:
    """Digits in groups without the cards in it, which begin and end with a group."""
    groups = list(re.finditer("[0-9]+", text))
    made, done, first = "", 0, 0
    while first < len(groups):
        start = groups[first].start()
        ends: dict[int, int] = {}  # digits -> number of the group behind
        digits = ""
        for number in range(first, min(len(groups), first + 6)):  # of three digits or more
            digits += groups[number][0]
            ends[len(digits)] = number + 1
        lengths = [size for size in _CARD_LENGTHS if size in ends and _is_card(digits[:size])]
        if lengths:
            end = groups[ends[lengths[0]] - 1].end()
            made += text[done:start] + instead(text[start:end])
            done, first = end, ends[lengths[0]]
        else:
            first += 1
    return made + text[done:]


def _is_card(digits: str) -> bool:
    """Whether its issuer is one of payment cards (2 to 6), and its Luhn checksum is right."""
    doubled = [sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2]]
    return digits[0] in "23456" and not (sum(map(int, digits[::-2])) + sum(doubled)) % 10


def _hide_addresses(text: str, instead: Instead) -> str:
    def ipv6(found: re.Match[str]) -> str:
        for end in ("", ":"):  # `2001:db8::1: refused`
            address = found[0].removesuffix(end)
            with suppress(AddressValueError):
                IPv6Address(address)
                return instead(address) + found[0][len(address) :]
        return found[0]

    if "::" in text or text.count(":") >= 7:
        text = _IPV6.sub(ipv6, text)
    return _IPV4.sub(lambda found: instead(found[0]), text)


PATTERNS = {
    "email": Pattern(r"(?i)[\w.+%-](?:@|%40|\\u0040)[\w-]", _hide_emails),
    "token": Pattern(
        rf"(?i){_SECRETS}|bearer\s|authorization|eyj|AKIA|ASIA|://[^/\s:@]*:[^/\s@]+@",
        _hide_tokens,
    ),
    "card": Pattern("[0-9](?:[ -]?[0-9]){12}", _hide_cards),
    "address": Pattern(
        rf"[0-9]\.[0-9]{{1,3}}\.[0-9]{{1,3}}\.[0-9]|{_MAY_BE_IPV6}",
        _hide_addresses,
        (rf"(?-u:\b)({_OCTET}(?:\.{_OCTET}){{2}})\.{_OCTET}(?-u:\b)", "${1}.0"),
        _MAY_BE_IPV6,
    ),
}
"""By the names that `PII` has for them."""
