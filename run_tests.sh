#!/usr/bin/env bash
# Lint, types, tests; arguments go to pytest: ./run_tests.sh tests/test_cli.py -k check
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source scripts/python.sh
source scripts/servers.sh

install_servers
install "[dev]"
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
# Two files at a time: most tests wait for processes. A last -n0 undoes that, to debug.
exec .venv/bin/python -m pytest -n2 --dist loadfile "$@"
