"""The lines around one, as they stand in its file: only where it is known to be that file."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.sources.around import REACH
from tests.conftest import Pipeline, wait_for
from tests.tailing import Tail, append

Tails = Callable[..., Tail]


def around(tailed: Tail, offset: int, most: int = 100) -> list[tuple[int, str]] | None:
    [file_id] = tailed.memory.files
    found = tailed.source.around(file_id, offset, most)
    return None if found is None else list(found)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16-le"])
def test_lines_stand_where_they_were_read(tail: Tails, tmp_path: Path, encoding: str) -> None:
    log = tmp_path / "a.log"
    mark = "" if encoding == "latin-1" else "\ufeff"
    texts = ["first é", "second\r", "", "third " + "x" * 200]
    log.write_bytes((mark + "\n".join([*texts, ""])).encode(encoding))
    tailed = tail(log, encoding=encoding)
    wait_for(tailed.batch, "the lines")
    append(log, "not ended".encode(encoding))
    unit = len("\n".encode(encoding))
    second = len(f"{mark}first é\n".encode(encoding))
    third = second + len("second\r\n\n") * unit
    expected = [(0, "first é"), (second, "second"), (third, texts[-1][:100])]
    assert around(tailed, second) == expected


def test_of_a_large_file_what_is_near_is_looked_at(tail: Tails, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    line = b"x" * 1023 + b"\n"
    log.write_bytes(line * (3 * REACH // 1024))
    tailed = tail(log)
    tailed.read(3 * REACH)
    found = around(tailed, REACH + 1024)
    assert found is not None
    assert {len(text) for _, text in found} == {100}
    assert [found[0][0], found[-1][0]] == [2048, 2 * REACH]


def test_lines_behind_those_that_are_stored_are_seen(tail: Tails, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(b"one\n")
    tailed = tail(log)
    wait_for(tailed.batch, "the line")
    append(log, b"two\n")
    assert around(tailed, 0) == [(0, "one"), (4, "two")]
    assert around(tailed, 4) is None  # nothing proves yet which byte is there


@pytest.mark.parametrize("what", ["other bytes", "another file", "no file", "out of the globs"])
def test_the_bytes_of_another_file_are_never_shown(tail: Tails, tmp_path: Path, what: str) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(b"one\n")
    tailed = tail(tmp_path / "*.log")
    wait_for(tailed.batch, "the line")
    assert around(tailed, 0) == [(0, "one")]
    if what == "other bytes":
        log.write_bytes(b"secret\n")
    elif what == "another file":
        (tmp_path / "secret").write_bytes(b"one\nsecret\n")
        (tmp_path / "secret").rename(log)
    else:
        log.rename(tmp_path / "a.txt")
        if what == "no file":
            (tmp_path / "a.txt").unlink()
        assert tailed.is_quiet()
    assert around(tailed, 0) is None


def test_compressed_files_are_not_read_again(tail: Tails, tmp_path: Path) -> None:
    (tmp_path / "a.log.gz").write_bytes(gzip.compress(b"one\n"))
    tailed = tail(tmp_path / "*", follow=False)
    tailed.read_to_end()
    assert around(tailed, 0) is None


def test_a_line_has_those_beside_it_that_are_not_stored(pipeline: Pipeline) -> None:
    log = pipeline.directory / "app.log"

    def write(message: str) -> int:
        place = log.stat().st_size
        append(log, f"{message}\n".encode())
        return place

    log.write_text("")
    skipped = write("skipped")
    process = pipeline.start(
        STORE="sqlite", INSTANCE="a", LOG_FORMAT="json", LOG_START="end", LOG_FILE_PATH=log
    )
    pipeline.wait_until_healthy()
    letter = write("no JSON")
    row = write(json.dumps({"timestamp": "2024-01-01T00:00:00Z", "message": "a row"}))
    pipeline.wait_until_stored(2)
    [listed] = pipeline.get("/logs").json()["rows"]
    path = f"/logs/{listed['file_id']}/{row}"
    found = pipeline.get(path).json()
    assert (found["from"], found["row"]) == ("file", listed)
    assert found["before"] == [
        {"offset": skipped, "raw": "skipped"},
        {"offset": letter, "raw": "no JSON", "reason": "bad_json"},
    ]
    assert pipeline.get(f"{path}?before=1").json()["before"] == found["before"][1:]
    log.rename(log.with_suffix(".old"))
    of_store = pipeline.get(path).json()
    assert (of_store["from"], of_store["before"]) == ("store", found["before"][1:])
    assert process.poll() is None
