#!/usr/bin/env bash
# From nothing to a running pipeline: .venv, packages, log generator, pipeline, API; or in containers.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source scripts/python.sh

usage="usage: ./start.sh [--fresh | --docker]
  --fresh   first delete all stored data and generated logs
  --docker  run docker compose, with ClickHouse as a server"
case "$#:${1:-}" in
    0: | 1:--fresh) ;;
    1:--docker)
        docker compose version >/dev/null 2>&1 ||
            fail "./start.sh --docker needs Docker with Compose 2.12 or newer: install them, or run ./start.sh alone."
        exec docker compose up --build
        ;;
    1:--help | 1:-h) echo "$usage" && exit ;;
    *) echo "$usage" >&2 && exit 2 ;;
esac

install ""
exec .venv/bin/python -m cli up "$@" # exec: a signal sent to this script reaches the supervisor
