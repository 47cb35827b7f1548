#!/bin/sh
# Prepares the verifiers in Java that judge our seals, tokens, evidence records and renditions in tests/independent:
# Bouncy Castle from Debian, EU DSS and veraPDF from Maven Central (pinned, with digests). Prints the folder of the
# compiled judges.
#
#   infra/verifiers.sh          fetches and compiles if needed (a minute, once); the last line of stdout is the folder
#   infra/verifiers.sh where    prints the folder, or exits 3 when it is not ready; fetches nothing
#
# Needs a JDK, mvn and the Debian packages of Bouncy Castle: infra/bootstrap.sh test installs them.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
sources=$here/../tests/independent/java
cache=${XDG_CACHE_HOME:-$HOME/.cache}/minutier
bouncy_castle=/usr/share/java/bcprov.jar:/usr/share/java/bcpkix.jar:/usr/share/java/bcutil.jar

say() { printf 'verifiers.sh: %s\n' "$*" >&2; }

# Another source or pin is another folder: what is there is never out of date.
jars=$cache/dss-$(sha256sum <"$sources/jars.sha256" | cut -c 1-16)
verapdf=$cache/verapdf-$(sha256sum <"$sources/verapdf.sha256" | cut -c 1-16)
key=$(cd "$sources" && sha256sum -- *.java *.sha256 | sha256sum | cut -c 1-16)
folder=$cache/verifiers-$key

if [ -d "$folder/jars/" ] && [ -d "$folder/verapdf-jars/" ] && [ -e /usr/share/java/bcpkix.jar ] && command -v java >/dev/null; then
    printf '%s\n' "$folder"
    exit 0
fi
if [ "${1:-}" = where ]; then
    say "not ready: run infra/bootstrap.sh test"
    exit 3
fi

missing=''
command -v javac >/dev/null || missing="$missing default-jdk-headless"
[ -d "$jars" ] && [ -d "$verapdf" ] || command -v mvn >/dev/null || missing="$missing maven"
for name in bcprov bcpkix bcutil; do
    [ -e "/usr/share/java/$name.jar" ] || missing="$missing lib$name-java"
done
if [ -n "$missing" ]; then
    say "these system packages are missing:$missing. infra/bootstrap.sh test installs them."
    exit 3
fi

mkdir -p "$cache"
aside=$(mktemp -d "$cache/.verifiers.XXXXXX")
trap 'rm -rf "$aside"' EXIT
trap 'exit 130' INT TERM

# A rename: two runs at once end with one whole folder.
keep() {
    mv -T "$1" "$2" 2>/dev/null || [ -d "$2" ] || { say "$2 is in the way: remove it."; exit 3; }
}

# fetch POM DIGESTS FOLDER: the jars of a POM, kept only when they are those that were named.
fetch() {
    [ ! -d "$3" ] || return 0
    if ! mvn -q -B -ntp -f "$sources/$1" -Dmaven.repo.local="$cache/maven" dependency:copy-dependencies \
        -DoutputDirectory="$aside/jars" >"$aside/log" 2>&1; then
        tail -n 20 "$aside/log" >&2
        say "Maven could not fetch them (above). Check the network and the mirrors in settings.xml, then run it again."
        exit 3
    fi
    if ! (cd "$aside/jars" && sha256sum --check --strict --quiet "$sources/$2" >&2) ||
        [ "$(find "$aside/jars" -name '*.jar' | wc -l)" -ne "$(wc -l <"$sources/$2")" ]; then
        say "the jars are not those that tests/independent/java/$2 names: nothing is kept."
        exit 3
    fi
    keep "$aside/jars" "$3"
}

if [ ! -d "$jars" ] || [ ! -d "$verapdf" ]; then
    say "fetching EU DSS and veraPDF (about 60 jars, 26 MB, and what Maven itself needs)..."
    fetch pom.xml jars.sha256 "$jars"
    fetch verapdf.xml verapdf.sha256 "$verapdf"
fi

say "compiling the judges..."
mkdir "$aside/made"
javac -nowarn -d "$aside/made/bouncy-castle" -cp "$bouncy_castle" "$sources/Case.java" "$sources/BouncyCastleJudge.java"
javac -nowarn -d "$aside/made/dss" -cp "$jars/*" "$sources/Case.java" "$sources/DssJudge.java"
javac -nowarn -d "$aside/made/verapdf" -cp "$verapdf/*" "$sources/VeraPdfJudge.java"
ln -s "../${jars##*/}" "$aside/made/jars"
ln -s "../${verapdf##*/}" "$aside/made/verapdf-jars"
keep "$aside/made" "$folder"
say "ready."
printf '%s\n' "$folder"
