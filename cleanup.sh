#!/usr/bin/env bash
# Removes what ./start.sh and ./run_tests.sh made: stored data, .venv, caches.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
source scripts/python.sh

if [[ -f $STAMP ]]; then # only the settings know where the data is, and whether it is in use
    data=$(.venv/bin/python -m cli.wipe)
    rmdir "$data" 2>/dev/null || true # a mount or a link stays
    echo "Removed the data in $data"
elif [[ -d data ]]; then
    echo "Left data/ alone: without a working .venv nothing tells whether it is in use" >&2
fi
for made in .venv build logwax.egg-info native/compiled*.so api/page/lib node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis; do
    if [[ -e $made ]]; then rm -rf "$made" && echo "Removed $made"; fi
done
find . -name .git -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +
echo "Removed __pycache__"
