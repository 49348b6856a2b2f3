"""The compiled part, which an install does without where there is no C compiler: see `native`."""

from pathlib import Path
from zlib import crc32

from setuptools import Extension, setup

SOURCES = sorted(Path("native").glob("*.[ch]"))
CHECKSUM = crc32(b"".join(file.read_bytes() for file in SOURCES))

setup(
    ext_modules=[
        Extension(
            "native.compiled",  # no module: it is loaded with ctypes, and knows nothing of Python
            [str(file) for file in SOURCES if file.suffix == ".c"],
            depends=["native/native.h"],
            define_macros=[("LOGWAX_SOURCES", f"{CHECKSUM}u")],
            extra_compile_args=["-O3", "-std=c11"],
            libraries=["m"],
            optional=True,
        )
    ]
)
