"""The compiled part: see `native`. It knows nothing of Python, hence one file is for all."""

import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

SOURCES = sorted(Path("native").glob("*.[ch]"))
CHECKSUM = crc32(b"".join(file.read_bytes() for file in SOURCES))


def has_compiler(command: list[str]) -> bool:
    """Whether this command compiles C, with the headers of its library."""
    try:
        program = b"#include <string.h>\n"
        subprocess.run([*command, "-xc", "-c", "-o/dev/null", "-"], input=program, check=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


CC = shlex.split(os.environ.get("CC") or "cc")
OURS = [] if has_compiler(CC) else ["ziglang"]
if OURS:
    CC = [sys.executable, "-m", "ziglang", "cc", "-target", f"{platform.machine()}-linux-gnu"]


class Compile(build_ext):
    """All sources in one go."""

    def get_ext_filename(self, fullname: str) -> str:
        """Without a Python in its name."""
        return fullname.replace(".", "/") + ".so"

    def build_extension(self, ext: Extension) -> None:
        """As usual, a failure is a warning if the extension is optional."""
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        flags = ["-O3", "-std=c11", "-shared", "-fPIC", f"-DLOGWAX_SOURCES={CHECKSUM}u"]
        flags += shlex.split(os.environ.get("CFLAGS", ""))
        with TemporaryDirectory() as cache:
            os.environ["ZIG_GLOBAL_CACHE_DIR"] = cache
            self.spawn([*CC, *flags, *ext.sources, "-lm", "-o", str(target)])


class Wheel(bdist_wheel):
    """A wheel for this kind of machine, and for every Python."""

    def get_tag(self) -> tuple[str, str, str]:
        """Python, its interface, and the platform."""
        return "py3", "none", super().get_tag()[2]


setup(
    cmdclass={"build_ext": Compile, "bdist_wheel": Wheel},
    ext_modules=[
        Extension(
            "native.compiled",  # no module: it is loaded with ctypes
            [str(file) for file in SOURCES if file.suffix == ".c"],
            depends=["native/native.h"],
            optional=True,
        )
    ],
    setup_requires=OURS,  # pip brings it for the time of the build
)
