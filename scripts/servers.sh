# shellcheck shell=bash
# Sourced by ./run_tests.sh, after scripts/python.sh: the programs that the tests run or build with.

# Prints the Debian packages of the programs that are not on the PATH.
missing_packages() {
    local pair
    for pair in chromium:chromium influxd:influxdb ip:iproute2 openssl:openssl redis-server:redis-server \
        systemd-analyze:systemd "cc:gcc libc6-dev" "clang:clang libclang-rt-dev"; do
        command -v "${pair%:*}" >/dev/null || echo -n "${pair#*:} "
    done
    # Debian has PostgreSQL's programs not on the PATH.
    compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null || command -v initdb >/dev/null ||
        echo -n "postgresql "
}

as_root() {
    if [[ $(id -u) == 0 ]]; then "$@"; else sudo -n "$@"; fi
}

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get --quiet --quiet --yes "$@"
}

# Builds FerretDB, which stands in for MongoDB, where Go is; once, it takes minutes.
build_ferretdb() {
    if [[ -n ${MONGODB_TEST_URL:-} ]] || ! command -v go >/dev/null; then return; fi
    local version=v1.24.0 binary source work
    binary=${XDG_CACHE_HOME:-$HOME/.cache}/logwax/ferretdb-${version#v}
    if [[ -x $binary ]]; then return; fi
    echo "Building FerretDB $version (once) ..."
    work=$(mktemp -d)
    # The module has not the file in which its version stands.
    source=$(cd "$work" && go mod download -json "github.com/FerretDB/FerretDB@$version" |
        sed -n 's/.*"Dir": "\(.*\)",*/\1/p') &&
        cp -r "$source" "$work/source" && chmod -R u+w "$work/source" &&
        echo $version >"$work/source/build/version/version.txt" &&
        (cd "$work/source" &&
            CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o "$work/ferretdb" ./cmd/ferretdb) &&
        mkdir -p "${binary%/*}" && mv "$work/ferretdb" "$binary" ||
        echo "FerretDB cannot be built: what needs MongoDB is not tested." >&2
    rm -rf "$work"
}

# Says what to do, before anything else is done, where what is missing cannot be installed.
check_servers() {
    if [[ -z $(missing_packages) ]]; then return; fi
    if ! command -v apt-get >/dev/null || ! as_root true 2>/dev/null; then fail "$(advice)"; fi
}

advice() {
    local packages
    packages=$(missing_packages)
    echo "The tests need the Debian packages ${packages% }, which cannot be installed from" \
        "here. Run: sudo apt-get update && sudo apt-get install --yes ${packages% }"
}

# Installs what is missing.
install_servers() {
    local packages
    packages=$(missing_packages)
    if [[ -z $packages ]]; then return; fi
    echo "Installing ${packages% } with apt-get (once) ..."
    # shellcheck disable=SC2086 # several packages
    apt_get install $packages >/dev/null 2>&1 || # the lists of packages may be old, or missing
        { apt_get update && apt_get install $packages; } || fail "$(advice)"
    if [[ -n $(missing_packages) ]]; then fail "$(advice)"; fi
    # The tests start their own; InfluxDB's service listens on every interface, without a password.
    local service
    for service in influxdb postgresql redis-server; do
        if [[ $packages == *$service* ]] && systemctl is-active --quiet $service 2>/dev/null; then
            as_root systemctl disable --quiet --now $service
        fi
    done
}
