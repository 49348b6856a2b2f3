"""The compiled part, which an install does without where there is no C compiler: see `native`."""

from pathlib import Path

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "native.compiled",  # no module: it is loaded with ctypes, and knows nothing of Python
            sorted(str(file) for file in Path("native").glob("*.c")),
            depends=["native/native.h"],
            extra_compile_args=["-O3", "-std=c11"],
            libraries=["m"],
            optional=True,
        )
    ]
)
