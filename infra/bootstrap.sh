#!/usr/bin/env bash
# Sets up this machine for `make demo` (run) or `make test` (test): system packages, uv, the locked Python environment,
# and for the tests a real MinIO server and the verifiers in Java that are not ours. Safe to run again; quick when nothing
# is missing.
# Exit 3: system packages are missing and this account may not install them; the command to run is printed.
set -euo pipefail

UV_VERSION=0.13.9
UV_OLDEST=0.9.0 # reads uv.lock
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/minutier

cd "$(dirname "$0")/.."
mode=${1:-run}

say() { printf 'bootstrap: %s\n' "$*" >&2; }

usage() {
    say "usage: infra/bootstrap.sh run|test|uv"
    exit 2
}

# The Debian packages whose absence shows, one a line.
missing_packages() {
    local each
    python_for_project || echo python3
    find_uv >/dev/null || python3 -c 'import venv, ensurepip' 2>/dev/null ||
        python3 -m pip --version >/dev/null 2>&1 || echo python3-venv
    # A proof is also checked the way a stranger would: with its verify.sh.
    command -v openssl >/dev/null || echo openssl
    if [ "$mode" = test ]; then
        command -v unzip >/dev/null || echo unzip
        # A second program opens what is encrypted.
        command -v age >/dev/null || echo age
        # The modules of the MinIO server come over TLS.
        [ -e /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
        # Proofs are also checked with the clock of 2050.
        command -v faketime >/dev/null || echo faketime
        # Verifiers that are not ours judge seals, tokens and evidence records.
        command -v javac >/dev/null || echo default-jdk-headless
        command -v mvn >/dev/null || echo maven
        for each in bcprov bcpkix bcutil; do
            [ -e "/usr/share/java/$each.jar" ] || echo "lib$each-java"
        done
        # A disk whose power is cut (tests/support/power_cut.py).
        command -v fusermount3 >/dev/null || echo fuse3
        # What renditions, recognised text and screening are tried with: LibreOffice, tesseract, their walls, ClamAV.
        command -v bwrap >/dev/null || echo bubblewrap
        command -v soffice >/dev/null || echo libreoffice-writer-nogui fonts-liberation2
        command -v tesseract >/dev/null || echo tesseract-ocr tesseract-ocr-fra
        # Not used: a program whose fabrications must be caught.
        command -v gs >/dev/null || echo ghostscript
        command -v clamd >/dev/null || echo clamav-daemon
        # A device for sealing keys, in software.
        command -v softhsm2-util >/dev/null || echo softhsm2
        # The filtering proxy before a store, and a second reader of signatures in PDF files.
        command -v haproxy >/dev/null || [ -x /usr/sbin/haproxy ] || echo haproxy
        command -v pdfsig >/dev/null || echo poppler-utils
    fi
}

python_for_project() {
    command -v python3 >/dev/null && python3 -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' ||
        command -v python3.11 >/dev/null || command -v python3.12 >/dev/null
}

install_packages() {
    local missing
    missing=$(missing_packages | sort -u | tr '\n' ' ')
    [ -n "$missing" ] || return 0
    missing=${missing% }
    if ! command -v apt-get >/dev/null; then
        say "install these, named as in Debian, with the package manager of this system: $missing"
        exit 3
    fi
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
            say "these system packages are missing: $missing"
            say "run this once, then the same make command again:"
            if command -v sudo >/dev/null; then
                printf '\n    sudo apt-get update && sudo apt-get install -y %s\n\n' "$missing" >&2
            else
                printf "\n    su -c 'apt-get update && apt-get install -y %s'\n\n" "$missing" >&2
            fi
            exit 3
        fi
        as_root=(sudo -n)
    fi
    say "installing system packages: $missing"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q update >&2
    # shellcheck disable=SC2086 # one word per package
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $missing >&2
}

recent() { [ "$(printf '%s\n%s\n' "$UV_OLDEST" "${1%% *}" | sort -V | head -n 1)" = "$UV_OLDEST" ]; }

# Prints the path of a uv that works: the one on PATH, else ours.
find_uv() {
    local each found
    for each in "$(command -v uv || true)" "$CACHE/uv-$UV_VERSION/bin/uv"; do
        if [ -n "$each" ] && found=$("$each" --version 2>/dev/null) && recent "${found#uv }"; then
            printf '%s\n' "$each"
            return 0
        fi
    done
    return 1
}

# Makes uv from the package index that pip of this machine uses, in a directory of its own.
install_uv() {
    find_uv >/dev/null && return 0
    local target=$CACHE/uv-$UV_VERSION
    local aside=$target.unfinished.$$
    say "installing uv $UV_VERSION into $target"
    mkdir -p "$CACHE"
    rm -rf "$aside"
    if python3 -m venv "$aside" >/dev/null 2>&1; then
        "$aside/bin/pip" install --quiet --disable-pip-version-check "uv==$UV_VERSION"
        # The program moves; the scripts of the venv, which name their place, do not.
        mkdir -p "$aside/moved/bin"
        cp "$aside/bin/uv" "$aside/moved/bin/"
    else
        # A python3 without ensurepip, with the pip of the system.
        python3 -m pip install --quiet --disable-pip-version-check --target "$aside/moved" "uv==$UV_VERSION"
    fi
    rm -rf "$target"
    mv "$aside/moved" "$target"
    rm -rf "$aside"
    find_uv >/dev/null || { say "uv was installed into $target and does not run"; exit 3; }
}

sync_environment() {
    # uv would download a Python of its own otherwise; the system's is good.
    export UV_PYTHON_DOWNLOADS=never
    if [ ! -x .venv/bin/python ]; then
        say "making the Python environment from uv.lock (about 200 packages: some minutes on the first run)"
    fi
    # Compiled once, here: where Python may not write beside what it reads, every process would compile it all again.
    "$1" sync --frozen --quiet --compile-bytecode || {
        say "the Python environment could not be made: see the message above; run the same command again"
        exit 3
    }
    .venv/bin/python -m compileall -q minutier storage tasks flows deployments supervision || true
}

# What judges the packages that leave, pinned and beside the environment: the schemas of SEDA, as a package of another
# archive brings them (its files alone, none of its code is run), and the validator of the E-ARK foundation.
fetch_judges() {
    local each target
    for each in seda-2.4.1 eark-1.1.3; do
        target=$CACHE/$each
        [ ! -d "$target" ] || continue
        rm -rf "$target.unfinished"
        "$1" pip install --quiet --no-deps --require-hashes --target "$target.unfinished" \
            -r "tests/independent/${each%%-*}/requirements.txt"
        mv "$target.unfinished" "$target"
    done
}

case $mode in
run | test) ;;
uv)
    find_uv || { install_packages && install_uv && find_uv; }
    exit
    ;;
*) usage ;;
esac

install_packages
install_uv
uv=$(find_uv)
sync_environment "$uv"
if [ "$mode" = test ]; then
    say "real MinIO server for the tests"
    # It asks uv for Go where the system has none that is recent enough; the uv made here is on nobody's PATH.
    PATH=$PATH:$(dirname "$uv") infra/minio.sh >/dev/null
    say "independent verifiers for the tests"
    infra/verifiers.sh >/dev/null
    say "published schemas of SEDA and validator of E-ARK for the tests"
    fetch_judges "$uv"
fi
say "ready"
if ! command -v uv >/dev/null; then
    say "to type \`uv run minutier …\` yourself: export PATH=\"\$PATH:$(dirname "$uv")\"   (or type .venv/bin/minutier …)"
fi
