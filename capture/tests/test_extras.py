"""A part whose library is missing says which extra brings it."""

import subprocess
import sys

import pytest

from logwax_capture import MissingExtraError, extra


def test_a_missing_library_names_its_extra() -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'logwax-capture\[redis\]'"):
        extra("redis", "no_such_library.client")


def test_what_a_library_lacks_itself_is_said_as_it_is(tmp_path, monkeypatch) -> None:
    (tmp_path / "half_there.py").write_text("import no_such_library")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ImportError, match="no_such_library") as caught:
        extra("redis", "half_there")
    assert not isinstance(caught.value, MissingExtraError)


def test_importing_it_loads_the_standard_library_only() -> None:
    """In a process without site-packages nothing else could be loaded."""
    code = "import logwax_capture, sys; print(logwax_capture.__name__)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        cwd=_package(),
        check=True,
    )
    assert done.stdout == "logwax_capture\n"


def _package() -> str:
    import logwax_capture

    return str(logwax_capture.__path__[0] + "/..")
