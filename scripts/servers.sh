# shellcheck shell=bash
# Sourced by ./run_tests.sh, after scripts/python.sh: the programs that the tests run or build with.

# Prints the Debian packages of the programs that are not on the PATH.
missing_packages() {
    local pair
    for pair in influxd:influxdb ip:iproute2 openssl:openssl "cc:gcc libc6-dev" "clang:clang libclang-rt-dev"; do
        command -v "${pair%:*}" >/dev/null || echo -n "${pair#*:} "
    done
}

as_root() {
    if [[ $(id -u) == 0 ]]; then "$@"; else sudo -n "$@"; fi
}

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get --quiet --quiet --yes "$@"
}

# Installs what is missing, or says what to do before anything else is done.
install_servers() {
    local packages
    packages=$(missing_packages)
    if [[ -z $packages ]]; then return; fi
    local advice="The tests need the Debian packages ${packages% }, which cannot be installed from"
    advice+=" here. Run: sudo apt-get update && sudo apt-get install --yes ${packages% }"
    if ! command -v apt-get >/dev/null || ! as_root true 2>/dev/null; then fail "$advice"; fi

    echo "Installing ${packages% } with apt-get (once) ..."
    # shellcheck disable=SC2086 # several packages
    apt_get install $packages >/dev/null 2>&1 || # the lists of packages may be old, or missing
        { apt_get update && apt_get install $packages; } || fail "$advice"
    if [[ -n $(missing_packages) ]]; then fail "$advice"; fi
    # The tests start their own; Debian's service listens on every interface, without a password.
    if [[ $packages == *influxdb* ]] && systemctl is-active --quiet influxdb 2>/dev/null; then
        as_root systemctl disable --quiet --now influxdb
    fi
}
