#!/usr/bin/env bash
# Lint, types, tests; arguments go to pytest: ./run_tests.sh tests/test_cli.py -k check
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source scripts/python.sh
source scripts/servers.sh

check_servers
install_servers & # these are on their way together
servers=$!
build_ferretdb &
command -v cc >/dev/null || wait "$servers" # else the build would bring a compiler of its own
install "[dev]"
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
wait "$servers"
wait
# Four tests at a time, for most wait. Who is done takes half of what another has left, so that the
# last file keeps nobody waiting. A last -n0 undoes that, to debug.
exec .venv/bin/python -m pytest -n4 --dist worksteal "$@"
