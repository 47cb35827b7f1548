#!/bin/sh
# Prepares the verifiers in Java that judge our seals, tokens and evidence records in tests/independent: Bouncy Castle
# from Debian, EU DSS from Maven Central (pinned, with digests). Prints the folder of the compiled judges.
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
key=$(cd "$sources" && sha256sum -- *.java jars.sha256 | sha256sum | cut -c 1-16)
folder=$cache/verifiers-$key

if [ -d "$folder/jars/" ] && [ -e /usr/share/java/bcpkix.jar ] && command -v java >/dev/null; then
    printf '%s\n' "$folder"
    exit 0
fi
if [ "${1:-}" = where ]; then
    say "not ready: run infra/bootstrap.sh test"
    exit 3
fi

missing=''
command -v javac >/dev/null || missing="$missing default-jdk-headless"
[ -d "$jars" ] || command -v mvn >/dev/null || missing="$missing maven"
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

if [ ! -d "$jars" ]; then
    say "fetching EU DSS (about 40 jars, 17 MB, and what Maven itself needs)..."
    if ! mvn -q -B -ntp -f "$sources/pom.xml" -Dmaven.repo.local="$cache/maven" dependency:copy-dependencies \
        -DoutputDirectory="$aside/jars" >"$aside/log" 2>&1; then
        tail -n 20 "$aside/log" >&2
        say "Maven could not fetch them (above). Check the network and the mirrors in settings.xml, then run it again."
        exit 3
    fi
    if ! (cd "$aside/jars" && sha256sum --check --strict --quiet "$sources/jars.sha256" >&2) ||
        [ "$(find "$aside/jars" -name '*.jar' | wc -l)" -ne "$(wc -l <"$sources/jars.sha256")" ]; then
        say "the jars are not those that tests/independent/java/jars.sha256 names: nothing is kept."
        exit 3
    fi
    keep "$aside/jars" "$jars"
fi

say "compiling the judges..."
mkdir "$aside/made"
javac -nowarn -d "$aside/made/bouncy-castle" -cp "$bouncy_castle" "$sources/Case.java" "$sources/BouncyCastleJudge.java"
javac -nowarn -d "$aside/made/dss" -cp "$jars/*" "$sources/Case.java" "$sources/DssJudge.java"
ln -s "../${jars##*/}" "$aside/made/jars"
keep "$aside/made" "$folder"
say "ready."
printf '%s\n' "$folder"
