"""What is no text, by the first bytes of its plain content."""

from __future__ import annotations

import re

from connectors.encodings import Encoding
from connectors.sources.content import GZIP, SKIPPABLE, XZ, ZSTD

_MAGICS = {
    b"\x7fELF": "an ELF file",
    b"MZ\x90\x00": "a Windows program",
    b"\xca\xfe\xba\xbe": "a Java class",
    b"\xcf\xfa\xed\xfe": "a Mach-O file",
    b"PK\x03\x04": "a ZIP archive",
    b"PK\x05\x06": "a ZIP archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"\x04\x22\x4d\x18": "compressed by lz4",
    b"\x02\x21\x4c\x18": "compressed by lz4",
    b"\x1f\x9d": "compressed by compress",
    b"\x1f\xa0": "compressed by compress",
    b"\x1f\x1e": "compressed by pack",
    b"\x89LZO\x00\r\n\x1a\n": "compressed by lzop",
    b"LZIP\x01": "compressed by lzip",
    b"\x5d\x00\x00": "compressed by lzma",
    b"\xff\x06\x00\x00sNaPpY": "compressed by Snappy",
    b"\x89PNG\r\n\x1a\n": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF89a": "a GIF image",
    b"GIF87a": "a GIF image",
    b"SQLite format 3\x00": "an SQLite database",
    b"LPKSHHRH": "a systemd journal",
    b"PAR1": "a Parquet file",
    b"Obj\x01": "an Avro file",
    b"\xd4\xc3\xb2\xa1": "captured packets",
    b"\x0a\x0d\x0d\x0a": "captured packets",
    **dict.fromkeys(SKIPPABLE, "compressed by lz4"),
    **dict.fromkeys((GZIP, ZSTD, XZ), "compressed twice"),
}
_TAR_AT, _TAR = 257, b"ustar"

_ENOUGH = 128  # bytes: fewer say nothing
_SHARE = 0.05
# One in ten random bytes is such. ESC colours text, and form feeds are in some logs.
_CONTROL = re.compile(rb"[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f]")
_GOOD_LINE = 16


def looks_binary(head: bytes, encoding: Encoding) -> str:
    """What a file that begins with `head` looks like, in words; empty: like text.

    It is text in case of doubt: also with a few lines that are binary, with holes of NULs before
    or behind, and if there is little of it.
    """
    for magic, words in _MAGICS.items():
        if head.startswith(magic):
            return words
    if head[_TAR_AT:].startswith(_TAR) and b"\0" in head[:_TAR_AT]:
        return "a tar archive"
    if encoding.unit > 1:
        return ""
    seen = head.strip(b"\0")  # a hole is filled, or has been skipped, by its writer
    if len(seen) < _ENOUGH or len(_CONTROL.findall(seen)) <= _SHARE * len(seen):
        return ""
    whole_lines = seen.split(b"\n")[:-1]
    if any(len(line) >= _GOOD_LINE and not _CONTROL.search(line) for line in whole_lines):
        return ""
    few, many = sorted((seen[0::2].count(0), seen[1::2].count(0)))
    is_utf_16 = few < len(seen) // 50 and many > len(seen) // 5
    return "UTF-16, which LOG_ENCODING has to say" if is_utf_16 else "binary"
