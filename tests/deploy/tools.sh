#!/usr/bin/env bash
# Fetches what check.py checks with into target/parts/deploy: linters from PyPI, promtool and prometheus from Debian's package (without
# installing it, which would start a server), helm and kube-score through the Go module proxy, where there is Go. What cannot be had is said, and left out.
set -euo pipefail
cd "$(dirname "$0")/../.."

place=$PWD/target/parts/deploy
mkdir -p "$place/bin"

[ -x "$place/venv/bin/python" ] || python3 -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check -r tests/deploy/requirements.txt

has() { command -v "$1" >/dev/null || [ -x "$place/bin/$1" ]; }

if ! has promtool || ! has prometheus; then
    (
        unpacked=$(mktemp -d)
        trap 'rm -rf "$unpacked"' EXIT
        cd "$unpacked"
        apt-get download -qq prometheus 2>/dev/null || { apt-get update -qq && apt-get download -qq prometheus; }
        dpkg -x prometheus_*.deb .
        mv usr/bin/promtool usr/bin/prometheus "$place/bin/"
    ) || echo "promtool and prometheus are not to be had: no Debian package of prometheus here" >&2
fi

# NAME MODULE: built once; a quarter of an hour on two cores that are busy.
build() {
    if has "$1"; then
        return
    fi
    if [ -n "${WITHOUT_GO:-}" ]; then
        echo "$1 is left out: WITHOUT_GO is set" >&2
        return
    fi
    if ! command -v go >/dev/null; then
        echo "$1 is not to be had: no Go here" >&2
    elif ! GOBIN=$place/bin go install "$2" 2>"$place/$1.log"; then
        echo "$1 is not to be had: see $place/$1.log" >&2
    fi
}
build helm helm.sh/helm/v3/cmd/helm@v3.22.0
build kube-score github.com/zegl/kube-score/cmd/kube-score@v1.20.0
