#!/usr/bin/env bash
# From nothing to a running pipeline: .venv, packages, log generator, pipeline, API.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source scripts/python.sh

usage="usage: ./start.sh [--fresh]    (--fresh: first delete all stored data and generated logs)"
case "$#:${1:-}" in
    0: | 1:--fresh) ;;
    1:--help | 1:-h) echo "$usage" && exit ;;
    *) echo "$usage" >&2 && exit 2 ;;
esac

install ""
exec .venv/bin/python -m cli up "$@" # exec: a signal sent to this script reaches the supervisor
