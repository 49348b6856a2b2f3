"""The `logwax` command."""

import sys

if not (3, 10) <= sys.version_info[:2] < (3, 13) or sys.implementation.name != "cpython":
    sys.exit(
        "Logwax needs CPython 3.10, 3.11 or 3.12, since Bytewax has no packages for others; "
        f"this is {sys.implementation.name} {sys.version.split()[0]}. Install one of them, for "
        "instance by `uv python install 3.12`, and run ./start.sh, or "
        "`uvx --python 3.12 --from . logwax`."
    )
