# shellcheck shell=bash
# Sourced by ./start.sh and ./run_tests.sh: finds a Python and keeps .venv up to date.

STAMP=.venv/logwax-installed # what .venv holds; written last, so an interrupted install has none

PROBE='
import sys
version = ".".join(map(str, sys.version_info[:3]))
if not (3, 10) <= sys.version_info[:2] < (3, 13) or sys.implementation.name != "cpython":
    print("version " + version)
else:
    try:
        import ensurepip, venv
        print("ok " + version)
    except ImportError:
        print("venv " + version)
'

fail() {
    echo "$*" >&2
    exit 1
}

# Runs a command that dies together with this script.
run() {
    local status=0
    "$@" &
    trap "kill $! 2>/dev/null; exit 143" INT TERM
    wait $! || status=$?
    trap - INT TERM
    return "$status"
}

# Sets `python`: $PYTHON if that is set, else the newest suitable one on the PATH, else uv's.
find_python() {
    local candidate verdict unfit="" without_venv=""
    local candidates=(python3.12 python3.11 python3.10 python3 python)
    if [[ -n "${PYTHON:-}" ]]; then candidates=("$PYTHON"); fi
    for candidate in "${candidates[@]}"; do
        verdict=$("$candidate" -c "$PROBE" 2>/dev/null) || continue
        case $verdict in
            ok*) python=$candidate && return ;;
            venv*) without_venv+="${without_venv:+, }$candidate" ;;
            *) unfit+="${unfit:+, }$candidate is ${verdict#version }" ;;
        esac
    done
    if [[ -z "${PYTHON:-}" ]] && command -v uv >/dev/null; then
        echo "There is no suitable Python (found: ${unfit:-none}): uv installs 3.12 ..."
        if run uv python install --quiet 3.12 && python=$(uv python find 3.12); then return; fi
    fi
    if [[ -n "$without_venv" ]]; then
        fail "Logwax needs Python's venv module, which $without_venv lacks:" \
            "install it (on Debian and Ubuntu the package python3-venv)."
    fi
    fail "Logwax needs CPython 3.10, 3.11 or 3.12 (found: ${unfit:-none}):" \
        "install one, such as by \`uv python install 3.12\`, or name it as in PYTHON=/path/to/python3.12 $0"
}

# install ""       what runs Logwax
# install "[dev]"  that, and what tests it
install() {
    local extra=$1 pinned python=.venv/bin/python
    pinned=$(cat pyproject.toml setup.py constraints.txt package-lock.json native/*.[ch] | cksum)
    if [[ -x $python ]] && grep -qxsF "$pinned$extra" "$STAMP"; then return; fi

    if ! $python -m pip --version >/dev/null 2>&1; then
        find_python
        echo "Making .venv with $("$python" -V) ..."
        run "$python" -m venv --clear .venv || fail "Making .venv failed: see above."
        python=.venv/bin/python
    fi
    rm -f "$STAMP"
    echo "Installing the pinned packages into .venv (once) ..."
    # In the environment, since this also holds for the packages that build ours. What is imported is
    # compiled then: that is the smaller part, and a third of the time.
    PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
        run $python -m pip install --quiet --no-compile --disable-pip-version-check --editable ".$extra" ||
        fail "Installing failed: see above. The next start tries again."
    printf '%s\n' "$pinned" "$pinned$extra" >"$STAMP"
}
